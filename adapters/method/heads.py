"""Typed outputs of a task from its logits. Imports no torch."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from adapters.config import TaskSpec, TaskType


@dataclass(frozen=True, slots=True)
class SingleLabelOutput:
    """The most probable label, and every label's softmax probability (or logit, if raw) in the task's order."""

    label: str
    score: float
    scores: dict[str, float]
    type: Literal["single_label"] = "single_label"


@dataclass(frozen=True, slots=True)
class MultiLabelOutput:
    """The labels whose sigmoid is at least 0.5 (the logit 0), and every label's sigmoid (or logit, if raw)."""

    labels: tuple[str, ...]
    scores: dict[str, float]
    type: Literal["multi_label"] = "multi_label"


@dataclass(frozen=True, slots=True)
class RegressionOutput:
    """The predicted number."""

    value: float
    type: Literal["regression"] = "regression"


Output = SingleLabelOutput | MultiLabelOutput | RegressionOutput


def to_probabilities(logits: np.ndarray, task_type: TaskType) -> np.ndarray:
    """Softmax over the labels, or a sigmoid for each label: logits [N, num_labels] -> float64 of that shape.

    The logits are already divided by the task's temperature. Not defined for a regression.
    """
    values = np.asarray(logits, dtype=np.float64)
    if task_type == "multi_label":
        return 0.5 * (1 + np.tanh(0.5 * values))  # the sigmoid, without overflow
    shifted = np.exp(values - values.max(axis=1, keepdims=True))
    softmax: np.ndarray = shifted / shifted.sum(axis=1, keepdims=True)
    return softmax


def decode(logits: np.ndarray, task: TaskSpec, *, raw_scores: bool = False) -> list[Output]:
    """Decode the logits of one task: [N, num_outputs] float -> N outputs.

    Labels are chosen by the logits, so the temperature does not change them. `raw_scores` gives the logits as scores.
    """
    values = np.asarray(logits, dtype=np.float64)
    if task.type == "regression":
        return [RegressionOutput(float(row[0])) for row in values]
    shown = values if raw_scores else to_probabilities(values / task.temperature, task.type)
    outputs: list[Output] = []
    for row, logit in zip(shown.tolist(), values, strict=True):
        scores = dict(zip(task.labels, row, strict=True))
        if task.type == "single_label":
            best = int(logit.argmax())
            outputs.append(SingleLabelOutput(task.labels[best], row[best], scores))
        else:
            outputs.append(MultiLabelOutput(tuple(task.labels[i] for i in np.flatnonzero(logit >= 0)), scores))
    return outputs
