"""Choosing the best checkpoint by its metric and its loss, and stopping when neither improves any more."""

import math
from typing import Any

from transformers import EarlyStoppingCallback

SELECTION = "selection"  # the entry of an evaluation that chooses the best checkpoint
TIE_BREAK = 1e-6  # the largest effect of the loss: less than one row's effect on the accuracy of a million rows
ROUNDING = 1e-12


def rank(score: float, loss: float) -> float:
    """Rank an evaluation: the higher score is better, and of equal scores the lower validation loss.

    A loss l counts by l / (1 + l) * TIE_BREAK; one that is not finite counts like an infinite one.
    """
    share = loss / (1 + loss) if math.isfinite(loss) else 1.0
    return score - TIE_BREAK * share


class Patience(EarlyStoppingCallback):  # type: ignore[misc]  # transformers is untyped
    """Stops a training after some evaluations without a better rank, as EarlyStoppingCallback does.

    Evaluations at or below `floor`, the score of a constant prediction, do not count: the training has not begun to
    learn. With rare labels, micro F1 is 0 for some epochs.
    """

    def __init__(
        self,
        early_stopping_patience: int = 1,
        early_stopping_threshold: float | None = 0.0,
        metric: str = "accuracy",
        floor: float = 0.0,
    ) -> None:
        super().__init__(early_stopping_patience, early_stopping_threshold)
        self._metric, self._floor = metric, floor

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any) -> None:
        """Count an evaluation above the floor."""
        if metrics[f"eval_{self._metric}"] > self._floor + ROUNDING:
            super().on_evaluate(args, state, control, metrics, **kwargs)

    def state(self) -> dict[str, Any]:
        """Return the state that a checkpoint holds; a resumed training makes the callback from it."""
        stored: dict[str, Any] = super().state()
        stored["args"] |= {"metric": self._metric, "floor": self._floor}
        return stored
