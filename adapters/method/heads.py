"""Typed outputs of a task from its logits. Imports no torch."""

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from adapters.config import TaskSpec, TaskType

_FEW_LABELS = 8


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
    rows: list[list[float]] = logits.tolist()
    if task.type == "regression":
        return [RegressionOutput(row[0]) for row in rows]
    chances = rows
    if not raw_scores:
        is_small = logits.shape[1] <= _FEW_LABELS and all(map(math.isfinite, itertools.chain.from_iterable(rows)))
        chances = [_few_probabilities(row, task) for row in rows] if is_small else _probabilities(logits, task)
    outputs: list[Output] = []
    for row, logit in zip(chances, rows, strict=True):
        scores = dict(zip(task.labels, row, strict=True))
        if task.type == "single_label":
            best = logit.index(max(logit))
            outputs.append(SingleLabelOutput(task.labels[best], row[best], scores))
        else:
            chosen = tuple(label for label, value in zip(task.labels, logit, strict=True) if value >= 0)
            outputs.append(MultiLabelOutput(chosen, scores))
    return outputs


def _probabilities(logits: np.ndarray, task: TaskSpec) -> list[list[float]]:
    values = np.asarray(logits, dtype=np.float64)
    found: list[list[float]] = to_probabilities(values / task.temperature, task.type).tolist()
    return found


def _few_probabilities(logits: list[float], task: TaskSpec) -> list[float]:
    """Return the probabilities of one input: `to_probabilities` but for the last bits, in a third of its time."""
    values = [logit / task.temperature for logit in logits]
    if task.type == "multi_label":
        return [0.5 * (1 + math.tanh(0.5 * value)) for value in values]
    most = max(values)
    shifted = [math.exp(value - most) for value in values]
    total = sum(shifted)
    return [value / total for value in shifted]
