"""Figures of a training on a terminal."""

import io

import numpy as np
import pytest
from rich.console import Console

from service.train.evaluation.analysis import analyse
from service.train.report.figures import SCATTER_HEIGHT, print_figures, scatter


def shown(analysis: object, width: int = 100) -> str:
    """The output on a terminal of `width` columns."""
    console = Console(file=io.StringIO(), width=width)
    print_figures(console, analysis)  # type: ignore[arg-type]
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert max(len(line) for line in text.splitlines()) <= width
    return text


def classes(num_classes: int) -> object:
    """Every class twice: once right, once taken for the next."""
    targets = np.repeat(np.arange(num_classes), 2)
    predicted = targets.copy()
    predicted[::2] = (predicted[::2] + 1) % num_classes
    labels = [f"[red]class {index}" for index in range(num_classes)]
    return analyse(np.eye(num_classes)[predicted], targets, "single_label", labels)


def test_few_classes_have_figures_and_a_matrix() -> None:
    """Brackets in a name are shown, not read as markup."""
    text = shown(classes(3))
    assert "[red]class 2" in text
    assert "0.500" in text
    assert "Confusion: truth down, predicted across" in text


def test_a_matrix_wider_than_the_terminal_becomes_pairs() -> None:
    """The pairs confused most often."""
    text = shown(classes(8), width=60)
    assert "Most often confused" in text
    assert "1 (50 %)" in text
    assert "Confusion" not in text


def test_of_many_classes_the_worst_are_shown() -> None:
    """The report has the others."""
    text = shown(classes(50))
    assert "The 10 worst of 50; the report has all" in text
    assert "Most often confused" in text


def test_nothing_confused_has_no_empty_table() -> None:
    """If many classes have no mistakes, only the table by class is printed."""
    targets = np.arange(50)
    text = shown(analyse(np.eye(50), targets, "single_label", [str(target) for target in targets]))
    assert "onfus" not in text


def test_labels_have_figures() -> None:
    """Without a confusion, which they do not have."""
    logits = np.array([[1.0, -1.0], [1.0, 1.0]])
    text = shown(analyse(logits, np.array([[1, 0], [0, 1]]), "multi_label", ["red", "blue"]))
    assert "By label" in text
    assert "onfus" not in text


def test_a_regression_has_a_scatter() -> None:
    """Predicted against true."""
    values = np.linspace(0, 10, 50)
    text = shown(analyse(values[:, None], values, "regression", ()))
    assert "Predicted (up) against true (right)" in text


def test_the_scatter_has_the_points_where_they_belong() -> None:
    """The greatest prediction on top, the greatest truth to the right; denser where there are more."""
    lines = scatter([(0.0, 0.0), (10.0, 10.0), (10.0, 10.0), (10.0, 0.0)])
    plot = [line[11:] for line in lines[:SCATTER_HEIGHT]]
    assert plot[0].rstrip().endswith(":")
    assert plot[-1].startswith(".")
    assert plot[-1].rstrip().endswith(".")
    assert lines[0].strip().startswith("10 |")
    assert lines[SCATTER_HEIGHT - 1].strip().startswith("0 |")


@pytest.mark.parametrize("points", [[(1.0, 1.0)], [(0.0, 0.0)] * 5, [(-1e9, 1e9)]])
def test_any_points_make_a_scatter(points: list[tuple[float, float]]) -> None:
    """One point, one place, great numbers."""
    assert len(scatter(points)) == SCATTER_HEIGHT + 2
