"""What a training shows while it runs: a live bar on a terminal, one line per evaluation everywhere."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback


class ProgressLines(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
    """Shown by the main process only."""

    def __init__(self, console: Console, metric: str) -> None:
        self._console, self._metric = console, metric
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._bar: Any = None
        self._loss = float("nan")
        self._best = float("-inf")

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Show the bar, from where a resumed training stands."""
        if state.is_world_process_zero:
            self._best = state.best_metric if state.best_metric is not None else self._best
            self._progress.start()
            self._bar = self._progress.add_task("training", total=state.max_steps, completed=state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._progress.update(self._bar, completed=state.global_step, description=self._describe(state))

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any) -> None:
        """Remember the training loss."""
        self._loss = logs.get("loss", self._loss)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any) -> None:
        """Print one line."""
        if self._bar is None:
            return
        score = metrics[f"eval_{self._metric}"]
        better, self._best = score > self._best, max(score, self._best)
        note = "  best so far" if better else ""
        self._console.print(f"{self._describe(state)}  {self._metric} {score:.4f}{note}", highlight=False)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._progress.stop()

    def _describe(self, state: Any) -> str:
        return f"epoch {state.epoch:.1f}/{state.num_train_epochs}  loss {self._loss:.4f}"
