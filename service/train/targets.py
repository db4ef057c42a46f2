"""Targets as the loss takes them: classes, sets of classes, standardised numbers; and the loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from adapters.config import TaskType
from service.train.labels import Label


@dataclass(frozen=True)
class TargetCodec:
    """Turns labels into arrays. A regression is learnt on (value - mean) / deviation of the training data."""

    type: TaskType
    num_labels: int
    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def fit(cls, task_type: TaskType, num_labels: int, targets: Sequence[Label]) -> "TargetCodec":
        """The codec for these training targets."""
        if task_type != "regression":
            return cls(task_type, num_labels)
        values = np.array(targets, dtype=np.float64)
        return cls(task_type, num_labels, float(values.mean()), float(values.std()))

    def encode(self, targets: Sequence[Label]) -> list[np.ndarray]:
        """One array per row: () int64, () float32, or [num_labels] float32."""
        if self.type == "single_label":
            return list(np.array(targets, dtype=np.int64))
        if self.type == "regression":
            return list(((np.array(targets) - self.mean) / self.deviation).astype(np.float32))
        rows = np.zeros((len(targets), self.num_labels), dtype=np.float32)
        for row, chosen in zip(rows, targets, strict=True):
            row[list(chosen)] = 1.0  # type: ignore[arg-type]  # of a multi-label task each is a tuple
        return list(rows)

    def restore(self, values: np.ndarray) -> np.ndarray:
        """Undo the standardisation of logits or of targets; the identity where there is none."""
        return values * self.deviation + self.mean if self.type == "regression" else values

    def fold(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The head that gives real values instead of standardised ones."""
        return weight * self.deviation, bias * self.deviation + self.mean if self.type == "regression" else bias


def loss(logits: Tensor, labels: Tensor, task_type: TaskType) -> Tensor:
    """Mean over the batch in float32: cross entropy, binary cross entropy, or squared error."""
    logits = logits.float()
    if task_type == "single_label":
        return F.cross_entropy(logits, labels)
    if task_type == "multi_label":
        return F.binary_cross_entropy_with_logits(logits, labels)
    return F.mse_loss(logits[:, 0], labels)
