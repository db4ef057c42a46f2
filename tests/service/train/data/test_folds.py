"""Folds of few rows: even, whole inputs, and never a class without a trained row."""

from collections import Counter
from pathlib import Path

import pytest

from service.train.data.folds import ALWAYS_TRAINED, MAX_ROWS
from service.train.data.load import TaskData, load_data
from service.train.errors import DataError
from service.train.options import DataOptions


def load(folder: Path, rows: list[tuple[str, str]]) -> TaskData:
    """Load a file of (text, label), to be cross-validated."""
    path = folder / "rows.tsv"
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows))
    return load_data(DataOptions(train=str(path)), seed=1, cross_validate=True)


def test_each_class_is_spread_evenly(tmp_path: Path) -> None:
    """Eight rows of each of three classes: every fold has eight rows, and two or three of a class."""
    data = load(tmp_path, [(f"text {label} {number}", label) for label in "abc" for number in range(8)])
    assert Counter(data.folds) == {0: 8, 1: 8, 2: 8}
    by_class = Counter(zip(data.train.targets, data.folds, strict=True))
    assert set(by_class.values()) == {2, 3}
    assert data.held_out
    assert data.train.inputs == data.validation.inputs
    assert data.validation.name == "rows.tsv (cross-validated rows)"
    assert data.warnings == ()


def test_what_cannot_be_measured_is_always_trained(tmp_path: Path) -> None:
    """A class with one input, and an input with two labels, are in every training; a repeated input is in one fold."""
    rows = [("one", "a"), ("ONE", "a"), ("two", "a"), ("three", "b"), ("four", "b"), ("five", "c")]
    data = load(tmp_path, [*rows, ("odd", "a"), ("odd", "b")])
    assert data.folds[0] == data.folds[1] >= 0
    assert data.folds[2] not in (data.folds[0], ALWAYS_TRAINED)
    assert data.folds[5:] == (ALWAYS_TRAINED,) * 3
    assert len(data.validation) == 5


def test_many_rows_and_one_input_a_class_are_not_cross_validated(tmp_path: Path) -> None:
    """Beyond the bound a tenth is held out; without two inputs of a class the refusal is that of holding out."""
    data = load(tmp_path, [(f"text {number}", "ab"[number % 2]) for number in range(MAX_ROWS + 1)])
    assert not data.folds
    assert len(data.validation) == 30
    with pytest.raises(DataError, match="so none can be held out"):
        load(tmp_path, [("one", "a"), ("two", "b")])
