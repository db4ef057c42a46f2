"""Targets of a training, classes, sets of classes or standardised numbers; class weights; the loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from adapters.config import TaskType
from service.train.data.labels import Label
from service.train.data.split import count_labels
from service.train.options import ClassWeights

MAX_POSITIVE_WEIGHT = 20.0  # with more, a rare label is predicted everywhere


@dataclass(frozen=True)
class TargetCodec:
    """Encodes labels as arrays, with their weights. A regression is trained on (value - mean) / deviation."""

    type: TaskType
    num_labels: int
    mean: float = 0.0
    deviation: float = 1.0
    weights: tuple[float, ...] | None = None  # of each class; of each set label in a multi-label task
    smoothing: float = 0.0  # share of a target spread over all classes

    @classmethod
    def fit(
        cls,
        task_type: TaskType,
        num_labels: int,
        targets: Sequence[Label],
        *,
        class_weights: ClassWeights = "none",
        smoothing: float = 0.0,
    ) -> "TargetCodec":
        """Make the codec for these training targets."""
        if task_type != "regression":
            weights = balanced_weights(task_type, targets, num_labels) if class_weights == "balanced" else None
            return cls(task_type, num_labels, weights=weights, smoothing=smoothing)
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
            row[list(chosen)] = 1.0  # type: ignore[arg-type]  # targets of a multi-label task are tuples
        return list(rows)

    def restore(self, values: np.ndarray) -> np.ndarray:
        """Undo the standardisation of the logits or targets of a regression; classes stay as they are."""
        return values * self.deviation + self.mean if self.type == "regression" else values

    def fold(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Fold the standardisation into the head, which then predicts real values."""
        return weight * self.deviation, bias * self.deviation + self.mean if self.type == "regression" else bias


def loss(logits: Tensor, labels: Tensor, codec: TargetCodec, *, training: bool = True) -> Tensor:
    """Mean over the batch in float32: cross entropy, binary cross entropy, or squared error.

    The loss of a row is multiplied by the weight of its class, that of a set label by the label's weight; weights and
    smoothing apply in training only. The mean is over rows, not over weights: a batch without the rare class must not
    count as much as one with it.
    """
    logits = logits.float()
    if codec.type == "regression":
        return F.mse_loss(logits[:, 0], labels)
    weights = torch.tensor(codec.weights, device=logits.device) if training and codec.weights else None
    smoothing = codec.smoothing if training else 0.0
    if codec.type == "multi_label":
        smooth = labels * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(logits, smooth, pos_weight=weights)
    losses = F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
    return (losses if weights is None else losses * weights[labels]).mean()


def balanced_weights(task_type: TaskType, targets: Sequence[Label], num_labels: int) -> tuple[float, ...]:
    """Weights that balance the labels, one per label; 1 for a label that never occurs.

    A class gets N / (K * count) for K classes in N rows, as in scikit-learn; the mean over the rows is 1. A label of a
    multi-label task gets (rows without it) / (rows with it), within 1/20..20.
    """
    counts = count_labels(targets, num_labels)
    occurs = counts > 0
    if task_type == "single_label":
        weights = len(targets) / (occurs.sum() * np.maximum(counts, 1))
    else:
        odds = (len(targets) - counts) / np.maximum(counts, 1)
        weights = odds.clip(1 / MAX_POSITIVE_WEIGHT, MAX_POSITIVE_WEIGHT)
    return tuple(np.where(occurs, weights, 1.0).tolist())
