"""Estimate the remaining time of a training; steps and evaluations are timed separately."""

from collections import deque

WINDOW = 100  # the speed is the mean of so many steps: enough for all lengths, few enough to follow changes
FORWARD_SHARE = 1 / 3  # of a step's time; estimates the cost of an evaluation before the first one


class Timing:
    """Measures the speed of steps and evaluations from the times at which they end, in seconds of one clock.

    Only events of this process count, so that a resumed training has the speed of this machine.
    """

    def __init__(self, total_steps: int, evaluate_every: int, evaluation_batches: float) -> None:
        self._total_steps, self._evaluate_every = total_steps, evaluate_every
        self._evaluation_batches = evaluation_batches  # validation data / training batch
        self._steps: deque[float] = deque(maxlen=WINDOW)  # seconds each
        self._evaluations_s, self._num_evaluations = 0.0, 0
        self._mark: float | None = None  # the end of the last event

    def begin(self, now: float) -> None:
        """Record the begin of the first step; time before it, such as skipping rows after a resume, does not count."""
        if self._mark is None:
            self._mark = now

    def step(self, now: float) -> None:
        """Record the end of a step."""
        self._steps.append(self._since_mark(now))

    def evaluation(self, now: float) -> None:
        """Record the end of an evaluation."""
        self._evaluations_s += self._since_mark(now)
        self._num_evaluations += 1

    def checkpoint(self, now: float) -> None:
        """Record the end of a checkpoint, which follows an evaluation."""
        self._evaluations_s += self._since_mark(now)

    @property
    def steps_per_s(self) -> float | None:
        """The speed of the last steps without evaluations; None before the first step."""
        return len(self._steps) / max(sum(self._steps), 1e-9) if self._steps else None

    def left_s(self, step: int) -> float | None:
        """Seconds from the end of `step` to the end of training, evaluations included; None before the first step."""
        speed = self.steps_per_s
        if speed is None:
            return None
        if self._num_evaluations:
            evaluation_s = self._evaluations_s / self._num_evaluations
        else:
            evaluation_s = FORWARD_SHARE * self._evaluation_batches / speed
        return (self._total_steps - step) / speed + self._evaluations_after(step) * evaluation_s

    def _evaluations_after(self, step: int) -> int:
        every, total = self._evaluate_every, self._total_steps
        at_the_end = step < total and total % every > 0
        return total // every - step // every + at_the_end

    def _since_mark(self, now: float) -> float:
        spent = now - self._mark if self._mark is not None else 0.0
        self._mark = now
        return spent


def clock(seconds: float | None) -> str:
    """75 -> 1:15, 3675 -> 1:01:15; dashes for an unknown time."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
