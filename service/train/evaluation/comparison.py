"""Comparison: the score of a trained adapter beside that of the probe, its uncertainty, and findings in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapters.config import TaskSpec
from service.train.evaluation.interval import confidence_interval, constant_score
from service.train.evaluation.metrics import compute_metrics

MIN_SUPPORT = 5  # validation rows of a label from which its absence among the predictions is a finding
SHOWN = 5  # labels in a finding
MAX_CHARS = 40  # of a label
ROUNDING = 1e-12


@dataclass(frozen=True)
class Comparison:
    """The scores of a trained model and of the probe on the same validation rows."""

    name: str  # "adapter", or "model" for a method that makes no adapter
    metric: str
    score: float
    probe: float  # logistic or ridge regression on the vectors of the frozen backbone
    num_rows: int
    low: float  # 95 % interval of the score
    high: float
    chance: float  # score of a constant answer
    num_labels: int
    unpredicted: tuple[str, ...] = ()  # labels with MIN_SUPPORT validation rows or more that are never predicted
    holds_probe: bool = False  # the file holds the probe, because no checkpoint is better
    num_folds: int = 0  # of the cross-validation that both scores are from; 0: they are of rows beside the training

    @classmethod
    def read(cls, stored: Mapping[str, Any] | None) -> "Comparison | None":
        """Read the entry of result.json; None if an earlier version wrote the file without it."""
        return None if stored is None else cls(**dict(stored) | {"unpredicted": tuple(stored["unpredicted"])})

    def describe(self) -> str:
        """Both scores, the number of rows and the interval, in one line."""
        source = f" ({self.num_folds}-fold cross-validation)" if self.num_folds else ""
        return (
            f"{self.name} {self.score:.3f}, probe {self.probe:.3f}, n = {self.num_rows:,}, 95 % interval "
            f"{self.low:.2f} to {self.high:.2f}{source}"
        )

    def findings(self) -> list[str]:
        """Sentences for users who would publish the adapter; none if there is no objection."""
        found = []
        if self.score <= self.chance + ROUNDING:
            found.append(
                f"The {self.name} is at chance: a constant answer has {self.metric} {self.chance:.3f}. Check the "
                "labels, or add rows."
            )
        if self.holds_probe:
            found.append(
                "No checkpoint is better than the probe, logistic or ridge regression on the frozen backbone's "
                "vectors, so the adapter holds the probe."
            )
        elif self.score <= self.probe:
            found.append(
                f"The {self.name} is not better than the probe, logistic or ridge regression on the frozen backbone's "
                "vectors. More rows help most."
            )
        if self.unpredicted:
            names = ", ".join(repr(name[:MAX_CHARS]) for name in self.unpredicted[:SHOWN])
            more = " ..." if len(self.unpredicted) > SHOWN else ""
            found.append(
                f"The {self.name} never predicts {names}{more} ({len(self.unpredicted)} of {self.num_labels} labels). "
                "Add rows of them, or train with --class-weights balanced."
            )
        return found


def compare(
    task: TaskSpec,
    metric: str,
    logits: np.ndarray,
    probe_logits: np.ndarray,
    targets: np.ndarray,
    *,
    seed: int,
    name: str = "adapter",
    holds_probe: bool = False,
    num_folds: int = 0,
) -> Comparison:
    """Compare the logits [N, num_outputs] of a trained model and of the probe on N rows, in the scale of the data.

    `targets` are classes or numbers [N], or 0 and 1 [N, num_labels]; `seed` draws the resamples of the interval.
    """
    low, high = confidence_interval(logits, targets, task.type, metric, seed)
    return Comparison(
        name=name,
        metric=metric,
        score=compute_metrics(logits, targets, task.type)[metric],
        probe=compute_metrics(probe_logits, targets, task.type)[metric],
        num_rows=len(targets),
        low=low,
        high=high,
        chance=constant_score(targets, task.type, task.num_outputs, metric),
        num_labels=len(task.labels),
        unpredicted=_find_unpredicted(task, logits, targets),
        holds_probe=holds_probe,
        num_folds=num_folds,
    )


def _find_unpredicted(task: TaskSpec, logits: np.ndarray, targets: np.ndarray) -> tuple[str, ...]:
    if task.type == "regression":
        return ()
    num_labels = len(task.labels)
    if task.type == "multi_label":
        support, predicted = (targets >= 0.5).sum(axis=0), (logits >= 0).sum(axis=0)
    else:
        support, predicted = (
            np.bincount(values.astype(np.int64), minlength=num_labels) for values in (targets, logits.argmax(axis=1))
        )
    return tuple(task.labels[int(label)] for label in np.flatnonzero((support >= MIN_SUPPORT) & (predicted == 0)))
