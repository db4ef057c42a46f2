"""The temperature that a training fits, and the calibration error that it states."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from adapters.config import MAX_TEMPERATURE, TaskType
from adapters.method.heads import to_probabilities
from service.train.evaluation.calibration import (
    MIN_FITTED,
    MIN_ROWS,
    calibrate,
    cross_fitted,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
)

KINDS: tuple[TaskType, ...] = ("single_label", "multi_label")
LOGITS = st.floats(-50, 50, width=32)


def drawn(task_type: TaskType, rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of three labels, and targets drawn from exactly the probabilities that they mean."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (rows, 3))
    chances = to_probabilities(logits, task_type)
    if task_type == "multi_label":
        return logits, (rng.random(chances.shape) < chances).astype(np.float32)
    return logits, np.array([rng.choice(3, p=row) for row in chances])


def slow_error(chances: np.ndarray, targets: np.ndarray, bins: int) -> float:
    """The paper's definition, row by row and bin by bin."""
    decisions: list[tuple[float, bool]] = []
    for row, target in zip(chances.tolist(), targets.tolist(), strict=True):
        if isinstance(target, list):
            decisions += [(max(p, 1 - p), (p >= 0.5) == (t == 1)) for p, t in zip(row, target, strict=True)]
        else:
            decisions.append((max(row), row.index(max(row)) == target))
    error = 0.0
    for number in range(1, bins + 1):
        inside = [(p, right) for p, right in decisions if number - 1 < p * bins <= number]
        if inside:
            confidence = sum(p for p, _ in inside) / len(inside)
            accuracy = sum(right for _, right in inside) / len(inside)
            error += len(inside) / len(decisions) * abs(accuracy - confidence)
    return error


@st.composite
def scored_rows(draw: Any) -> tuple[np.ndarray, np.ndarray]:
    """Any logits with any targets, of either kind of task."""
    rows, labels = draw(st.integers(1, 40)), draw(st.integers(2, 4))
    logits = draw(arrays(np.float64, (rows, labels), elements=LOGITS))
    if draw(st.booleans()):
        return logits, draw(arrays(np.float32, (rows, labels), elements=st.sampled_from([0.0, 1.0])))
    return logits, draw(arrays(np.int64, rows, elements=st.integers(0, labels - 1)))


@pytest.mark.parametrize("task_type", KINDS)
@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found(task_type: TaskType, factor: float) -> None:
    """Honest logits that were multiplied by 3 get the temperature 3, and become honest again."""
    logits, targets = drawn(task_type, 4000)
    calibration = calibrate(factor * logits, targets, task_type, seed=1)
    assert calibration.temperature == pytest.approx(factor, rel=0.06)
    assert calibration.metrics["ece"] < 0.025
    if factor != 1.0:
        assert calibration.metrics["ece_uncalibrated"] > 2 * calibration.metrics["ece"]
        assert calibration.metrics["nll_uncalibrated"] > calibration.metrics["nll"]


@pytest.mark.parametrize("task_type", KINDS)
def test_it_is_the_best_of_all(task_type: TaskType) -> None:
    """No temperature of a fine grid has a smaller negative log likelihood, beyond the four digits."""
    logits, targets = drawn(task_type, 300)
    logits = 2.2 * logits
    fitted = fit_temperature(logits, targets)
    least = min(negative_log_likelihood(logits / t, targets) for t in np.geomspace(MIN_FITTED, MAX_TEMPERATURE, 3000))
    assert negative_log_likelihood(logits / fitted, targets) <= least + 1e-6


def test_likelihood_by_hand() -> None:
    """Minus the mean logarithm of what the right answers were given; of several labels, over all decisions."""
    logits = np.log([[0.8, 0.2], [0.5, 0.5]])
    assert negative_log_likelihood(logits, np.array([0, 1])) == pytest.approx(-(math.log(0.8) + math.log(0.5)) / 2)
    logits = np.array([[math.log(4), -math.log(3)]])  # sigmoids of 0.8 and 0.25
    assert negative_log_likelihood(logits, np.array([[1.0, 0.0]])) == pytest.approx(-math.log(0.8 * 0.75) / 2)


@settings(max_examples=60, deadline=None)
@given(scored_rows())
def test_never_worse_on_the_rows_fitted(rows: tuple[np.ndarray, np.ndarray]) -> None:
    """For all rows, the temperature is in its bounds, and the likelihood is not worse than without it."""
    logits, targets = rows
    temperature = fit_temperature(logits, targets)
    assert MIN_FITTED <= temperature <= MAX_TEMPERATURE
    assert negative_log_likelihood(logits / temperature, targets) <= negative_log_likelihood(logits, targets)


def test_error_by_hand() -> None:
    """Two bins with rows: 0.9 and 1.0 confident, half right; 0.6 confident, right."""
    chances = np.array([[0.96, 0.04], [1.0, 0.0], [0.4, 0.6], [0.38, 0.62]])
    targets = np.array([0, 1, 1, 1])
    # (2/4) * |0.5 - 0.98| + (1/4) * |1 - 0.6| + (1/4) * |1 - 0.62|: 0.6 closes the ninth bin of fifteen
    assert expected_calibration_error(chances, targets) == pytest.approx(0.24 + 0.1 + 0.095)
    assert expected_calibration_error(chances, targets, bins=1) == pytest.approx(abs(0.75 - 0.795))


@settings(max_examples=200, deadline=None)
@given(scored_rows(), st.integers(1, 20))
def test_error_is_that_of_the_definition(rows: tuple[np.ndarray, np.ndarray], bins: int) -> None:
    """Fast and slow agree, for any rows and any number of bins."""
    logits, targets = rows
    chances = to_probabilities(logits, "multi_label" if targets.ndim == 2 else "single_label")
    assert expected_calibration_error(chances, targets, bins) == pytest.approx(slow_error(chances, targets, bins))


def test_the_error_stated_is_of_rows_that_were_not_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row is divided by a temperature that came of other rows only, each row once; the seed draws the folds."""
    logits, targets = drawn("single_label", 50)
    logits = 2 * logits
    marked = np.concatenate([logits, np.arange(50.0)[:, None]], axis=1)
    seen: list[set[int]] = []

    def fit(logits: np.ndarray, targets: np.ndarray) -> float:
        seen.append(set(logits[:, 3].astype(int)))
        return float(len(seen) + 1)

    monkeypatch.setattr("service.train.evaluation.calibration.fit_temperature", fit)
    scaled = cross_fitted(marked, targets, seed=0)
    used = np.rint(logits[:, 0] / scaled[:, 0]).astype(int) - 2
    assert sorted(np.bincount(used)) == [10] * 5
    assert all(row not in seen[fold] and len(seen[fold]) == 40 for row, fold in enumerate(used))
    assert not np.array_equal(scaled, cross_fitted(marked, targets, seed=1))


def test_too_few_rows_claim_nothing() -> None:
    """Under twenty rows there is neither a temperature nor an error; with twenty there are both."""
    logits, targets = drawn("single_label", MIN_ROWS)
    few = calibrate(3 * logits[1:], targets[1:], "single_label", seed=0)
    assert (few.temperature, few.metrics) == (1.0, {})
    enough = calibrate(3 * logits, targets, "single_label", seed=0)
    assert enough.temperature > 1
    assert set(enough.metrics) == {"ece", "ece_uncalibrated", "nll", "nll_uncalibrated"}


def test_a_regression_has_none() -> None:
    """Numbers have no probabilities."""
    calibration = calibrate(np.ones((50, 1)), np.ones(50), "regression", seed=0)
    assert (calibration.temperature, calibration.metrics) == (1.0, {})


@pytest.mark.parametrize("task_type", KINDS)
@pytest.mark.parametrize("scale", [0.01, 1.0, 1000.0])
def test_a_perfect_score_is_no_reason_to_be_certain(task_type: TaskType, scale: float) -> None:
    """If every row is right, certain logits stay as they are, and unsure ones become more certain, within the bound."""
    logits, _ = drawn(task_type, 60)
    targets = (logits >= 0).astype(np.float32) if task_type == "multi_label" else logits.argmax(axis=1)
    calibration = calibrate(scale * logits, targets, task_type, seed=0)
    assert MIN_FITTED <= calibration.temperature <= 1
    assert (calibration.temperature < 1) == (scale < 1000)
    assert calibration.metrics["ece"] <= calibration.metrics["ece_uncalibrated"]
    assert all(map(math.isfinite, calibration.metrics.values()))


@pytest.mark.parametrize("task_type", KINDS)
def test_right_but_unsure_becomes_as_sure_as_the_rows_allow(task_type: TaskType) -> None:
    """Fifty rows, all right at a confidence of a third or a half, end near Laplace's chance of n + 1 in n + 2."""
    if task_type == "multi_label":
        targets = np.tile([1.0, 0.0], (50, 1)).astype(np.float32)
        logits, count = np.where(targets == 1, 1.0, -1.0), 100
    else:
        targets = np.arange(50) % 3
        logits, count = np.eye(3)[targets], 50
    temperature = fit_temperature(logits, targets)
    chances = to_probabilities(logits / temperature, task_type)
    right = chances[targets == 1] if task_type == "multi_label" else chances[np.arange(50), targets]
    assert right.mean() == pytest.approx((count + 1) / (count + 2), abs=1e-3)
    assert temperature < 0.5


def test_nearly_perfect_is_bounded() -> None:
    """One error at the very border among 300 rows asks for far less than MIN_FITTED and does not get it."""
    logits = np.tile([1.0, 0.0], (300, 1))
    logits[0] = [0.001, 0.0]
    targets = np.zeros(300, dtype=np.int64)
    targets[0] = 1
    assert fit_temperature(logits, targets) == pytest.approx(MIN_FITTED, rel=0.01)


def test_worse_than_chance_becomes_unsure() -> None:
    """If every row is wrong, the probabilities end near those of a guess."""
    logits, _ = drawn("single_label", 100)
    calibration = calibrate(logits, logits.argmin(axis=1), "single_label", seed=0)
    assert calibration.temperature == pytest.approx(MAX_TEMPERATURE, rel=0.01)
    assert calibration.temperature <= MAX_TEMPERATURE


@pytest.mark.parametrize("task_type", KINDS)
def test_logits_that_tell_nothing_apart(task_type: TaskType) -> None:
    """Logits of nothing but zeros are as good under any temperature, so they keep 1."""
    _, targets = drawn(task_type, 60)
    assert calibrate(np.zeros((60, 3)), targets, task_type, seed=0).temperature == 1.0


def test_one_class_only() -> None:
    """A validation split of one class is fitted to how often that class is answered."""
    logits = np.tile([2.0, 0.0], (100, 1))
    logits[:10] = [0.0, 2.0]
    calibration = calibrate(logits, np.zeros(100, dtype=np.int64), "single_label", seed=0)
    assert calibration.temperature == pytest.approx(2 / math.log(9), rel=0.001)
    assert calibration.metrics["ece"] < 0.05
