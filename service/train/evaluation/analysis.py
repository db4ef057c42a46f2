"""Analysis of the validation rows: scores by class, confusion, calibration bins and the worst mistakes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit, log_softmax
from sklearn.metrics import confusion_matrix

from adapters.config import TaskType
from service.train.evaluation.metrics import f1_scores

NUM_MISTAKES = 20
NUM_BINS = 10


@dataclass(frozen=True)
class ClassScore:
    """The scores of one class or label."""

    name: str
    precision: float  # 0 if it is never predicted
    recall: float  # 0 if it never occurs
    f1: float | None  # None if it neither occurs nor is predicted; macro F1 leaves it out
    support: int  # its rows


@dataclass(frozen=True)
class Answer:
    """A class or a number, as shown in the report."""

    name: str
    probability: float | None = None  # None for a number


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction for a validation row."""

    row: int  # index into the validation data
    loss: float  # cross entropy, mean binary cross entropy, or absolute error
    truth: tuple[Answer, ...]  # one class; in a multi-label task, the missed labels
    predicted: tuple[Answer, ...]  # one class; in a multi-label task, the wrong labels


@dataclass(frozen=True)
class Bin:
    """Predictions of similar probability; in a calibrated model `share` equals `mean`."""

    low: float
    high: float
    count: int
    mean: float  # mean probability
    share: float  # share of right predictions


@dataclass(frozen=True, eq=False)
class Analysis:
    """The analysis of an adapter's predictions for the validation rows."""

    type: TaskType
    num_rows: int
    mistakes: tuple[Mistake, ...]  # the worst first
    num_mistakes: int  # in a regression, every row that is not exact
    classes: tuple[ClassScore, ...] = ()  # in the order of the logits; empty for a regression
    bins: tuple[Bin, ...] = ()
    confusion: np.ndarray = field(
        default_factory=lambda: np.zeros((0, 0), np.int64)
    )  # [truth, predicted]; single_label
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))  # [N, (truth, predicted)]; regression

    def most_confused(self, most: int) -> list[tuple[str, str, int, float]]:
        """The pairs confused most often: (truth, predicted, rows, share of the truth's rows)."""
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        pairs = [divmod(int(index), len(wrong)) for index in order]
        names, support = [item.name for item in self.classes], self.confusion.sum(axis=1)
        return [
            (names[i], names[j], int(wrong[i, j]), float(wrong[i, j] / support[i])) for i, j in pairs if wrong[i, j]
        ]


def analyse(logits: np.ndarray, targets: np.ndarray, task_type: TaskType, labels: Sequence[str]) -> Analysis:
    """Analyse N rows: logits [N, num_outputs]; targets [N] classes or numbers, or [N, num_labels] of 0 and 1."""
    logits = logits.astype(np.float64)
    if task_type == "regression":
        return _regression(logits[:, 0], targets.astype(np.float64))
    if task_type == "multi_label":
        return _multi_label(logits, targets >= 0.5, labels)
    return _single_label(logits, targets, labels)


def _single_label(logits: np.ndarray, targets: np.ndarray, labels: Sequence[str]) -> Analysis:
    log_probabilities = log_softmax(logits, axis=1)
    rows, predicted = np.arange(len(logits)), logits.argmax(axis=1)
    loss, confidence = -log_probabilities[rows, targets], np.exp(log_probabilities[rows, predicted])
    wrong = predicted != targets
    confusion = confusion_matrix(targets, predicted, labels=range(len(labels)))
    return Analysis(
        type="single_label",
        num_rows=len(logits),
        mistakes=tuple(
            Mistake(
                row,
                float(loss[row]),
                (Answer(labels[int(targets[row])], float(np.exp(-loss[row]))),),
                (Answer(labels[int(predicted[row])], float(confidence[row])),),
            )
            for row in _worst(loss, wrong)
        ),
        num_mistakes=int(wrong.sum()),
        classes=_class_scores(labels, confusion.diagonal(), confusion.sum(axis=0), confusion.sum(axis=1)),
        bins=_bins(confidence, ~wrong),
        confusion=confusion,
    )


def _multi_label(logits: np.ndarray, truth: np.ndarray, labels: Sequence[str]) -> Analysis:
    probabilities, chosen = expit(logits), logits >= 0
    loss = np.logaddexp(0, np.where(truth, -logits, logits)).mean(axis=1)
    wrong = (chosen != truth).any(axis=1)

    def answers(row: int, which: np.ndarray) -> tuple[Answer, ...]:
        return tuple(Answer(labels[int(i)], float(probabilities[row, i])) for i in np.flatnonzero(which))

    return Analysis(
        type="multi_label",
        num_rows=len(logits),
        mistakes=tuple(
            Mistake(
                row,
                float(loss[row]),
                answers(row, truth[row] & ~chosen[row]),
                answers(row, chosen[row] & ~truth[row]),
            )
            for row in _worst(loss, wrong)
        ),
        num_mistakes=int(wrong.sum()),
        classes=_class_scores(labels, (truth & chosen).sum(axis=0), chosen.sum(axis=0), truth.sum(axis=0)),
        bins=_bins(probabilities.ravel(), truth.ravel()),
    )


def _regression(predicted: np.ndarray, targets: np.ndarray) -> Analysis:
    loss = np.abs(predicted - targets)
    return Analysis(
        type="regression",
        num_rows=len(targets),
        mistakes=tuple(
            Mistake(row, float(loss[row]), (Answer(f"{targets[row]:.4g}"),), (Answer(f"{predicted[row]:.4g}"),))
            for row in _worst(loss, loss > 0)
        ),
        num_mistakes=int((loss > 0).sum()),
        points=np.stack([targets, predicted], axis=1),
    )


def _class_scores(
    labels: Sequence[str], found: np.ndarray, predicted: np.ndarray, support: np.ndarray
) -> tuple[ClassScore, ...]:
    """Scores from the true positives, the predictions and the rows of each class, each [L]."""
    precision, recall = (found / np.maximum(count, 1) for count in (predicted, support))
    scores = (None if math.isnan(score) else score for score in f1_scores(found, predicted, support).tolist())
    columns = zip(labels, precision.tolist(), recall.tolist(), scores, support.tolist(), strict=True)
    return tuple(ClassScore(*values) for values in columns)


def _worst(loss: np.ndarray, wrong: np.ndarray) -> list[int]:
    rows = np.flatnonzero(wrong)
    worst: list[int] = rows[np.argsort(-loss[rows], kind="stable")][:NUM_MISTAKES].tolist()
    return worst


def _bins(probabilities: np.ndarray, right: np.ndarray) -> tuple[Bin, ...]:
    which = np.minimum((probabilities * NUM_BINS).astype(int), NUM_BINS - 1)
    return tuple(
        Bin(
            low=index / NUM_BINS,
            high=(index + 1) / NUM_BINS,
            count=int(inside.sum()),
            mean=float(probabilities[inside].mean()),
            share=float(right[inside].mean()),
        )
        for index in range(NUM_BINS)
        if (inside := which == index).any()
    )
