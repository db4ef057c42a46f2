"""Curves of a training's log, and the charts of them."""

import pytest

from service.train.report.charts import Series, make_chart, ticks
from service.train.report.curves import read_curves, smooth

LOG = [
    {"loss": 0.7, "grad_norm": 1.0, "learning_rate": 1e-3, "epoch": 0.5, "step": 5},
    {
        "eval_loss": 0.6,
        "eval_accuracy": 0.8,
        "eval_runtime": 1.0,
        "eval_samples_per_second": 9,
        "epoch": 1.0,
        "step": 10,
    },
    {"loss": 0.5, "epoch": 1.5, "step": 15},
    {"eval_loss": 0.4, "eval_accuracy": 0.9, "eval_steps_per_second": 2.0, "epoch": 2.0, "step": 20},
    {"train_runtime": 5.0, "train_loss": 0.6, "epoch": 2.0, "step": 20},
]


def test_the_log_becomes_curves() -> None:
    """Loss of training and of validation, and the metrics; times are no metric."""
    curves = read_curves(LOG, 20)
    assert curves.training_loss == ((5, 0.7), (15, 0.5))
    assert curves.validation_loss == ((10, 0.6), (20, 0.4))
    assert curves.metrics == {"accuracy": ((10, 0.8), (20, 0.9))}
    assert curves.best_step == 20


def test_a_step_logged_twice_counts_once() -> None:
    """The later one counts."""
    assert read_curves([*LOG, {**LOG[1], "eval_accuracy": 0.85}], 10).metrics["accuracy"] == ((10, 0.85), (20, 0.9))


def test_smoothing_has_no_bias() -> None:
    """The first value is itself, a constant stays, and a jump is followed slowly."""
    assert smooth([]) == []
    assert smooth([3.0, 3.0, 3.0]) == pytest.approx([3.0, 3.0, 3.0])
    first, second = smooth([0.0, 1.0])
    assert first == 0
    assert 0.5 < second < 0.6


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.81, 0.8102), (-3, 12345), (1e-9, 2e-9), (0, 7)])
def test_ticks_are_few_and_within(low: float, high: float) -> None:
    """Ticks are round numbers for every range."""
    found = ticks(low, high)
    assert 3 <= len(found) <= 8
    assert low - 1e-12 <= found[0]
    assert found[-1] <= high + 1e-9 * abs(high)


def test_a_chart_lies_within_its_drawing() -> None:
    """Every point, the mark and the diagonal; what is not finite is left out."""
    series = [Series("a", [(0, 1.0), (10, float("nan")), (20, 3.0)]), Series("none", [])]
    chart = make_chart("title", "x", series, mark=(20, "best"), diagonal=True)
    assert chart
    (curve,) = chart.curves
    assert len(curve.dots) == 2
    assert all(chart.left <= x <= chart.right and chart.top <= y <= chart.bottom for x, y in curve.dots)
    assert curve.dots[0][1] > curve.dots[1][1]  # SVG counts from the top
    assert chart.mark
    assert chart.mark.at == curve.dots[1][0]
    assert chart.diagonal


def test_one_point_and_none() -> None:
    """One has a place, none makes no chart."""
    assert make_chart("title", "x", [Series("a", [(5, 0.5)])])
    assert make_chart("title", "x", [Series("a", [])]) is None
    assert make_chart("title", "x", []) is None
