"""Inputs that stand in the data more than once, and what is held out of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.train.errors import DataError
from tests.support.training_data import load


def write(path: Path, rows: list[tuple[Any, ...]]) -> str:
    """A JSON Lines file of texts, or pairs, with labels."""
    names = ("text", "label") if len(rows[0]) == 2 else ("text_a", "text_b", "label")
    path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    return str(path)


TRAIN = [("Good day", "x"), ("bad", "y"), ("  good\tDAY ", "x"), ("good day", "x"), ("Bad", "x"), ("fine", "x")]
DEV = [("great", "x"), ("GOOD day", "y"), ("fine", "x"), ("dull", "y")]


def test_duplicates_are_counted_and_placed(tmp_path: Path) -> None:
    """But for case and white space: repeated rows, labels in conflict, validation inputs seen in training."""
    data = load(write(tmp_path / "train.jsonl", TRAIN), write(tmp_path / "dev.jsonl", DEV))
    assert data.warnings == (
        "train.jsonl, line 3 repeats line 1; 2 of 6 rows (33.3%) have the input and the label of an earlier one; "
        "--drop-duplicates leaves them out of training",
        "train.jsonl, line 5 has the input of line 2 with another label; inputs with labels that contradict each "
        "other: 1; correct the labels, or remove the rows",
        "dev.jsonl, line 2 occurs in the training data, too (train.jsonl, line 1), like 2 of 4 rows (50.0%), which "
        "makes the scores too good; --drop-duplicates leaves them out of training",
    )


def test_clean_data_has_no_warning(tmp_path: Path) -> None:
    """Different inputs, balanced classes."""
    train = write(tmp_path / "train.jsonl", [("a", "x"), ("b", "y")])
    assert load(train, write(tmp_path / "dev.jsonl", [("c", "x"), ("d", "y")])).warnings == ()


def test_composed_accents_make_no_difference(tmp_path: Path) -> None:
    """An accent is one character or two, and the input the same."""
    train = write(tmp_path / "train.jsonl", [("caf\u00e9", "x"), ("bar", "y")])
    data = load(train, write(tmp_path / "dev.jsonl", [("Cafe\u0301", "x"), ("d", "y")]))
    assert [warning[:39] for warning in data.warnings] == ["dev.jsonl, line 1 occurs in the trainin"]


def test_pairs_are_compared_as_pairs(tmp_path: Path) -> None:
    """The same first text, or the two the other way round, is no duplicate."""
    rows = [("a", "b", "x"), ("b", "a", "y"), ("a", "c", "x")]
    train = write(tmp_path / "train.jsonl", rows)
    assert load(train, write(tmp_path / "dev.jsonl", [("c", "a", "x"), ("d", "a", "y")])).warnings == ()
    data = load(train, write(tmp_path / "dev.jsonl", [("A", " c", "x"), ("d", "a", "y")]))
    assert [warning[:39] for warning in data.warnings] == ["dev.jsonl, line 1 occurs in the trainin"]


def test_duplicates_can_be_dropped_from_training(tmp_path: Path) -> None:
    """The first of equal rows stays, unless validation has it; labels in conflict stay; validation stays whole."""
    train = write(tmp_path / "train.jsonl", [*TRAIN, ("dear", "y"), ("dear", "y")])
    data = load(train, write(tmp_path / "dev.jsonl", DEV), drop_duplicates=True)
    assert data.train.inputs == ["bad", "Bad", "dear"]
    assert len(data.validation) == 4
    assert data.warnings[0] == "train.jsonl: --drop-duplicates left out 5 of 8 rows"
    assert "contradict" in data.warnings[1]
    assert len(data.warnings) == 2


def test_dropping_must_leave_every_class(tmp_path: Path) -> None:
    """A class whose every row is validated, too, is an error, not a class that nothing is known of."""
    train = write(tmp_path / "train.jsonl", [("a", "x"), ("b", "y")])
    with pytest.raises(DataError, match="--drop-duplicates would leave no row of some label"):
        load(train, write(tmp_path / "dev.jsonl", [("b", "y")]), drop_duplicates=True)


@pytest.mark.parametrize("type_", ["single_label", "multi_label"])
def test_the_same_input_is_never_in_both_parts(tmp_path: Path, type_: Any) -> None:
    """The held-out part has no input of the training part, and is about a tenth of the rows."""
    rows = [(f"{('text', 'Text')[i % 2]}  {i // 3}", "xy"[i // 3 % 2]) for i in range(300)]
    for seed in range(5):
        data = load(write(tmp_path / "a.jsonl", rows), type=type_, seed=seed)
        train, held = ({str(item).casefold() for item in part.inputs} for part in (data.train, data.validation))
        assert not train & held
        assert len(data.train) + len(data.validation) == 300
        assert 24 <= len(data.validation) <= 30
        assert not any("is in the training data" in warning for warning in data.warnings)


def test_contradictions_are_not_held_out(tmp_path: Path) -> None:
    """They are no measure; and a class that only occurs among them stays in training."""
    rows = [(f"text {i}", "x") for i in range(20)] + [(f"text {i}", "y") for i in range(10)]
    data = load(write(tmp_path / "a.jsonl", rows))
    assert set(data.validation.targets) == {0}
    assert sum(target == 1 for target in data.train.targets) == 10


def test_one_input_alone_cannot_be_held_out(tmp_path: Path) -> None:
    """Two classes of one input each, however often repeated."""
    with pytest.raises(DataError, match="has one input, however often it occurs; add rows with other texts"):
        load(write(tmp_path / "a.jsonl", [("a", "x"), ("b", "y")] * 5))
