"""The held-out part of the training data, the warnings about it, and the reasons why nothing can be held out."""

from pathlib import Path
from typing import Any

import pytest

from service.train.errors import DataError
from tests.support.training_data import load


def write(path: Path, rows: list[tuple[str, str]], header: str = "text,label") -> str:
    """A CSV file of texts and labels."""
    path.write_text(header + "\n" + "".join(f"{text},{label}\n" for text, label in rows))
    return str(path)


def classes(count: int, rows: int) -> list[tuple[str, str]]:
    """`rows` rows of each of `count` classes."""
    return [(f"text {i} of {name}", f"class {name:02}") for name in range(count) for i in range(rows)]


def test_the_true_share_is_reported(tmp_path: Path) -> None:
    """With two rows per class, half of all rows are held out, and a warning says so."""
    data = load(write(tmp_path / "a.csv", classes(8, 2)))
    assert (len(data.train), len(data.validation)) == (8, 8)
    assert data.warnings == (
        "a.csv: 8 of 16 rows (50%) are held out for validation: at least one of each class; --validation FILE "
        "keeps all rows for training",
    )
    assert load(write(tmp_path / "b.csv", classes(8, 10))).warnings == ()


def test_classes_that_are_not_validated_are_named(tmp_path: Path) -> None:
    """A class with one row is trained on; a long list of them is cut."""
    rows = classes(2, 40)
    data = load(write(tmp_path / "a.csv", [*rows, ("alone", "rare"), ("other", "odd")]))
    assert data.warnings[0] == (
        "a.csv (held-out part): no row has 'odd', 'rare', 2 of the 4 labels, so no score measures them; add rows with "
        "other texts"
    )
    many = load(write(tmp_path / "b.csv", [*rows, *classes(9, 1)[2:]]))
    assert "no row has 'class 02', 'class 03', 'class 04', 'class 05', 'class 06' ..., 7 of the 9" in many.warnings[0]


def test_labels_that_validation_lacks_are_named(tmp_path: Path) -> None:
    """In a file of its own, and of a multi-label task, too."""
    train = write(tmp_path / "train.csv", [("a", "x"), ("b", "y"), ("c", "x|z"), ("d", "y|z")])
    data = load(train, write(tmp_path / "dev.csv", [("e", "x"), ("f", "x")]))
    assert data.scheme.type == "multi_label"
    assert data.warnings == (
        "dev.csv: no row has 'y', 'z', 2 of the 3 labels, so no score measures them; add rows with other texts",
    )


def test_rows_of_one_class_each_have_the_wrong_column(tmp_path: Path) -> None:
    """The error names the column of identifiers and some of its values."""
    header, rows = "text,id", [(f"text {i}", f"A{i:02}") for i in range(60)]
    with pytest.raises(DataError) as caught:
        load(write(tmp_path / "a.csv", rows, header), label_column="id")
    assert str(caught.value) == (
        "a.csv: each of the 60 classes in column id ('A00', 'A01', 'A02', 'A03', 'A04' ...) has one row, so none can "
        "be held out; name the right column with --label-column, add rows of each class, or give --validation FILE"
    )


def test_nearly_as_many_classes_as_rows_are_reported(tmp_path: Path) -> None:
    """A column of identifiers of which a few repeat is no column of classes either."""
    rows = [(f"text {i}", f"A{i % 50:02}") for i in range(60)]
    data = load(write(tmp_path / "a.csv", rows))
    assert data.warnings[0] == (
        "a.csv: column label has 50 different labels in 60 rows, few to learn each from; is it the right column "
        "(--label-column)?"
    )


@pytest.mark.parametrize(
    ("rows", "type_", "message"),
    [
        (
            [("a", "x"), ("b", "y")] * 3,
            "auto",
            "each of the 2 classes in column label ('x', 'y') has one input, however",
        ),
        ([("a", "x"), ("a", "y")] * 3, "auto", "6 rows with 1 different input cannot be split; add rows, or give"),
        ([("a", "1"), ("a", "2")], "regression", "2 rows with 1 different input cannot be split; add rows, or give"),
        (
            [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), ("c", "x"), ("c", "y")],
            "auto",
            "no class has two inputs whose labels do not contradict each other; correct the labels, add rows, or give",
        ),
    ],
)
def test_the_cause_is_named(tmp_path: Path, rows: list[tuple[str, str]], type_: Any, message: str) -> None:
    """Repeated inputs, labels that contradict each other, one input only."""
    with pytest.raises(DataError) as caught:
        load(write(tmp_path / "a.csv", rows), type=type_)
    assert message in str(caught.value)
    assert str(caught.value).endswith("or give --validation FILE")
