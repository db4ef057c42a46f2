"""How long a training still takes. Steps and evaluations are timed apart: they cost differently and alternate."""

from collections import deque

WINDOW = 100  # steps whose mean is the speed: enough for texts of all lengths, few enough to follow the machine
FORWARD_SHARE = 1 / 3  # of a step's time that its forward takes: what an evaluation is thought to cost before the first


class Timing:
    """Told when steps and evaluations end, in seconds of one clock.

    It counts only what it was told of: after a resume, the speed is that of this machine, now.
    """

    def __init__(self, total_steps: int, evaluate_every: int, evaluation_batches: float) -> None:
        self._total_steps, self._evaluate_every = total_steps, evaluate_every
        self._evaluation_batches = evaluation_batches  # size of the validation data in batches of a training step
        self._steps: deque[float] = deque(maxlen=WINDOW)  # seconds each
        self._evaluations_s, self._num_evaluations = 0.0, 0
        self._mark: float | None = None  # the end of what was told last

    def begin(self, now: float) -> None:
        """The first step begins; what came before it, such as passing over rows after a resume, is not counted."""
        if self._mark is None:
            self._mark = now

    def step(self, now: float) -> None:
        """A step ended."""
        self._steps.append(self._since_mark(now))

    def evaluation(self, now: float) -> None:
        """An evaluation ended."""
        self._evaluations_s += self._since_mark(now)
        self._num_evaluations += 1

    def checkpoint(self, now: float) -> None:
        """A checkpoint was written, as after each evaluation."""
        self._evaluations_s += self._since_mark(now)

    @property
    def steps_per_s(self) -> float | None:
        """Of the last steps, evaluations left out; None before the first."""
        return len(self._steps) / max(sum(self._steps), 1e-9) if self._steps else None

    def left_s(self, step: int) -> float | None:
        """Seconds from the end of `step` to the end of the last one, evaluations included; None before the first."""
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
    """75 -> 1:15, 3675 -> 1:01:15; dashes for what is not known."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
