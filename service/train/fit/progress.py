"""The progress of a training: a live bar on a terminal, and one line per evaluation."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text
from transformers import TrainerCallback

from service.train.fit.selection import SELECTION
from service.train.fit.timing import Timing, clock

SMOOTHING = 0.7  # weight of the earlier values in the smoothed training loss


class ProgressLines(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
    """Shows the progress on the main process."""

    def __init__(
        self, console: Console, metric: str, num_validation: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._console, self._metric, self._num_validation, self._now = console, metric, num_validation, now
        self._live = _Live(console)
        self._bar: TaskID | None = None
        self._timing: Timing
        self._texts_per_step = 0
        self._losses: list[float] = []  # means over some steps, as logged
        self._score: float | None = None
        self._best = float("-inf")
        self._best_rank = float("-inf")
        self._num_validated = 0  # batches of the evaluation in progress

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Show the bar, which starts at the step of a resumed training."""
        if not state.is_world_process_zero:
            return
        self._texts_per_step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        every = (
            state.eval_steps if args.eval_strategy == "steps" else math.ceil(state.max_steps / args.num_train_epochs)
        )
        self._timing = Timing(state.max_steps, every, self._num_validation / self._texts_per_step)
        self._losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
        scores = [entry[f"eval_{self._metric}"] for entry in state.log_history if f"eval_{self._metric}" in entry]
        self._best = max(scores, default=self._best)
        self._best_rank = state.best_metric if state.best_metric is not None else self._best
        self._live.start()
        self._bar = self._live.add_task("training", total=state.max_steps, completed=state.global_step)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock."""
        if self._bar is not None:
            self._timing.begin(self._now())

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._timing.step(self._now())
            score = "" if self._score is None else f"  {self._metric} {self._score:.4f}, best {self._best:.4f}"
            self._live.facts = f"{self._where(state)}{score}  {self._throughput(state)}"
            self._live.update(self._bar, completed=state.global_step, description="training")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any) -> None:
        """Remember the training loss."""
        if "loss" in logs:
            self._losses.append(logs["loss"])

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Show that an evaluation is running."""
        if self._bar is not None:
            self._num_validated += 1
            batches = math.ceil(self._num_validation / (args.eval_batch_size * args.world_size))
            self._live.update(self._bar, description=f"validating {self._num_validated}/{batches}")

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any) -> None:
        """Print the line of an evaluation."""
        if self._bar is None:
            return
        self._timing.evaluation(self._now())
        self._num_validated = 0
        self._score = metrics[f"eval_{self._metric}"]
        rank = metrics.get(f"eval_{SELECTION}", self._score)
        note = "best so far" if rank >= self._best_rank else f"best {self._best:.4f}"
        self._best_rank = max(rank, self._best_rank)
        self._best = max(self._score, self._best)
        self._print(f"{self._where(state)}  {self._metric} {self._score:.4f}  {note}  {self._throughput(state)}")

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the time of the checkpoint."""
        if self._bar is not None:
            self._timing.checkpoint(self._now())

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remove the bar, and print why a training ended before its last epoch."""
        if self._bar is not None and state.global_step < state.max_steps:
            self._print(
                f"stopped at step {state.global_step} of {state.max_steps}: {self._metric} did not improve any more"
            )
        self.close()

    def close(self) -> None:
        """Remove the bar, which hides the cursor."""
        self._live.stop()

    def _where(self, state: Any) -> str:
        loss = f"{smooth(self._losses)[-1]:.4f}" if self._losses else "-"
        return f"epoch {state.epoch:.1f}/{state.num_train_epochs}  loss {loss}"

    def _throughput(self, state: Any) -> str:
        texts_per_s = self._texts_per_step * (self._timing.steps_per_s or 0.0)
        return f"{texts_per_s:,.0f} texts/s  {clock(self._timing.left_s(state.global_step))} left"

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


class _Live(Progress):
    """A bar with a line of facts below it; shows nothing without a terminal."""

    facts = ""

    def __init__(self, console: Console) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_interactive,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the bar and the line of facts."""
        yield from super().get_renderables()
        if self.facts:
            yield Text(self.facts, no_wrap=True, overflow="ellipsis")


def smooth(values: Sequence[float]) -> list[float]:
    """The exponential mean up to each value, corrected for the bias towards the first."""
    smoothed, mean, weight = [], 0.0, 0.0
    for value in values:
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        smoothed.append(mean / weight)
    return smoothed
