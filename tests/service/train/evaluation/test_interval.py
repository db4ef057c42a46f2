"""Intervals of scores and the scores of constant predictions, against slow references."""

from typing import Any

import numpy as np
import pytest

from adapters.config import TaskType
from service.train.evaluation import interval
from service.train.evaluation.interval import confidence_interval, constant_score, wilson
from service.train.evaluation.metrics import compute_metrics

CASES: list[tuple[TaskType, str]] = [
    ("single_label", "accuracy"),
    ("single_label", "f1"),
    ("single_label", "matthews"),
    ("multi_label", "micro_f1"),
    ("multi_label", "f1"),
    ("regression", "pearson"),
]


def rows_of(task_type: TaskType, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Logits of three labels that are right more often than not, or numbers with noise."""
    drawn = np.random.default_rng(1)
    if task_type == "regression":
        truth = drawn.normal(size=count)
        return (truth + drawn.normal(size=count))[:, None], truth
    if task_type == "multi_label":
        truth = (drawn.random((count, 3)) < 0.4).astype(np.float32)
        return drawn.normal(size=(count, 3)) + 2 * truth - 1, truth
    classes = drawn.integers(0, 3, count)
    return drawn.normal(size=(count, 3)) + 1.5 * np.eye(3)[classes], classes


@pytest.mark.parametrize(("task_type", "metric"), CASES[1:])
def test_resamples_are_scored_like_rows(task_type: TaskType, metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interval from sums of terms is that of scoring each resample row by row."""
    monkeypatch.setattr(interval, "MAX_RESAMPLES", 50)
    monkeypatch.setattr(interval, "MIN_RESAMPLES", 50)
    logits, targets = rows_of(task_type)
    drawn = np.random.default_rng(7)
    samples = [drawn.integers(0, len(targets), len(targets)) for _ in range(50)]
    scores = [compute_metrics(logits[rows], targets[rows], task_type)[metric] for rows in samples]
    expected = np.quantile(scores, (0.025, 0.975))
    assert confidence_interval(logits, targets, task_type, metric, seed=7) == pytest.approx(tuple(expected))


@pytest.mark.parametrize(("task_type", "metric"), [*CASES, ("regression", "spearman")])
def test_an_interval_encloses_its_score(task_type: TaskType, metric: str) -> None:
    """The score lies within, and four times as many rows give about half of the width."""
    widths = []
    for count in (100, 400):
        logits, targets = rows_of(task_type, count)
        low, high = confidence_interval(logits, targets, task_type, metric, seed=0)
        assert low < compute_metrics(logits, targets, task_type)[metric] < high
        widths.append(high - low)
    assert 0.3 < widths[1] / widths[0] < 0.8


@pytest.mark.parametrize(
    ("right", "rows", "expected"),
    [(0, 10, (0.0, 0.2775)), (5, 10, (0.2366, 0.7634)), (10, 10, (0.7225, 1.0)), (39, 50, (0.6476, 0.8725))],
)
def test_wilson_by_the_published_table(right: int, rows: int, expected: tuple[float, float]) -> None:
    """Numbers of the formula, worked out by hand; the bounds stay within 0 and 1."""
    assert wilson(right, rows) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("task_type", "metric"), CASES)
def test_a_constant_prediction_is_scored_like_any_other(task_type: TaskType, metric: str) -> None:
    """The floor is the score that the metric itself gives to the most frequent answer."""
    _, targets = rows_of(task_type)
    constant: Any = {
        "single_label": lambda: np.bincount(targets.astype(int), minlength=3),
        "multi_label": lambda: targets.mean(axis=0) - 0.5,
        "regression": lambda: np.ones(1),
    }[task_type]()
    logits = np.tile(np.asarray(constant, dtype=np.float64), (len(targets), 1))
    expected = compute_metrics(logits, targets, task_type)[metric]
    assert constant_score(targets, task_type, logits.shape[1], metric) == pytest.approx(expected)


def test_the_floor_of_frequent_labels() -> None:
    """A label of at least half of the rows is in the constant answer; a rare one is not, so its micro F1 is 0."""
    frequent = np.array([[1, 0], [1, 0], [1, 1], [0, 0]], dtype=np.float32)
    assert constant_score(frequent, "multi_label", 2, "micro_f1") == pytest.approx(2 * 3 / (4 + 4))
    assert constant_score(frequent[:, 1:], "multi_label", 1, "micro_f1") == 0.0


def test_a_split_of_one_class_has_a_floor_of_one() -> None:
    """Every row is answered rightly by that class; the Matthews correlation is not defined and counts as 0."""
    targets = np.zeros(5, dtype=np.int64)
    assert constant_score(targets, "single_label", 2, "accuracy") == 1.0
    assert constant_score(targets, "single_label", 2, "matthews") == 0.0
