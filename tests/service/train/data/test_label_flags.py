"""Flags, lists of one label, and class names from the options or the data."""

from typing import Any

import pytest

from service.train.data.labels import read_labels
from service.train.errors import DataError
from tests.support.label_columns import complaint, read, table, targets


@pytest.mark.parametrize(
    "labels",
    [
        [[0, 1, 0], [1, 1, 0], [0, 0, 0]],
        [[0.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]],
        [[False, True, False], [True, True, False], [False] * 3],
        ["[0, 1, 0]", "[1, 1, 0]", "[0, 0, 0]"],
        ["[0.0, 1.0, 0.0]", "[1.0, 1.0, 0.0]", "[0.0, 0.0, 0.0]"],
        ["[false, true, false]", "[true, true, false]", "[false, false, false]"],
        ["0|1|0", "1|1|0", "0|0|0"],
    ],
)
@pytest.mark.parametrize("wanted", [None, "multi_label"])
def test_flags_need_names(labels: list[Any], wanted: Any) -> None:
    """Lists of 0 and 1 without names are refused, not learnt as the labels "0" and "1"; names make them labels."""
    assert complaint(labels, wanted) == (
        "a.csv: each row of column label has 3 flags of 0 and 1, and no names for them; give 3 names in their order, "
        "such as --label-names a,b,c"
    )
    assert "3 flags of 0 and 1, but 2 names (x, y); give 3 names" in complaint(labels, wanted, names=("x", "y"))
    reading = read(labels, wanted, names=("x", "y", "z"))
    assert (reading.scheme.type, reading.scheme.names) == ("multi_label", ("x", "y", "z"))
    assert targets(reading, labels) == [(1,), (0, 1), ()]
    with pytest.raises(DataError, match=r"a\.csv, line 2: labels .* are not 3 flags of 0 and 1 like the other rows"):
        targets(reading, [labels[0][:2] if isinstance(labels[0], list) else "[0, 1]"])


def test_one_row_of_another_length_is_found() -> None:
    """Flags with one missing are no labels "0" and "1" either."""
    labels = [[0, 1, 0], [1, 1, 0], [0, 1]]
    assert "has 3 flags of 0 and 1" in complaint(labels)
    reading = read(labels, names=("x", "y", "z"))
    with pytest.raises(DataError, match="line 4: labels \\[0, 1\\] are not 3 flags"):
        targets(reading, [[0, 0, 0], [0, 0, 0], [0, 1]])


def test_indices_are_no_flags() -> None:
    """Lists of different lengths without repeats are labels, named 0 and 1 or as --label-names says."""
    labels = [[0], [1], [0, 1], []]
    assert read(labels).scheme.names == ("0", "1")
    reading = read(labels, names=("x", "y"))
    assert targets(reading, labels) == [(0,), (1,), (0, 1), ()]


def test_shares_of_labels_are_refused() -> None:
    """A list of numbers with decimals holds no labels."""
    assert "line 3: the list of labels holds 0.7; a row has a label or lacks it" in complaint([[0, 1], [0.7, 0.3]])


def test_class_names_of_the_data_name_flags() -> None:
    """If a data set brings as many names as flags, they name the flags; another number of names is refused."""
    rows = table([[0, 1, 0], [1, 1, 0]], class_names={"label": ("x", "y", "z")})
    reading = read_labels(rows, "label")
    assert reading.scheme.names == ("x", "y", "z")
    assert [reading.scheme.read(rows, 2, [0, 1, 0]), reading.scheme.read(rows, 3, [1, 1, 0])] == [(1,), (0, 1)]
    with pytest.raises(DataError, match=r"has 3 flags of 0 and 1, but 2 names \(no, yes\)"):
        read_labels(table([[0, 1, 0]], class_names={"label": ("no", "yes")}), "label")


@pytest.mark.parametrize("labels", [[0, 2, 1], [0.0, 2.0, 1.0], ["0", "2", "1"], ["0.0", "2.0", "1.0"]])
def test_names_of_whole_numbers(labels: list[Any]) -> None:
    """--label-names names the classes 0, 1, 2, however they are written; their order is that of the names."""
    reading = read(labels, names=("low", "high", "middle"))
    assert (reading.scheme.type, reading.scheme.names) == ("single_label", ("low", "high", "middle"))
    assert targets(reading, [*labels, "middle"]) == [0, 2, 1, 2]
    assert "line 3: label 2" in complaint(labels, names=("low", "high"))


def test_names_of_booleans_and_texts() -> None:
    """false and true are 0 and 1; texts must be among the names, which give their order."""
    for labels in ([False, True], ["False", "TRUE"]):
        assert targets(read(labels, names=("no", "yes")), labels) == [0, 1]
    assert read(["b", "a"], names=("b", "a")).scheme.names == ("b", "a")
    assert "label 'c' in column label is missing in --label-names" in complaint(["b", "c"], names=("b",))


@pytest.mark.parametrize(("wanted", "names"), [("multi_label", ("a", "b")), ("single_label", ("a", "b"))])
@pytest.mark.parametrize("labels", [[["a"], ["b"]], ["['a']", '["b"]']])
def test_lists_of_one_label(labels: list[Any], wanted: Any, names: tuple[str, ...]) -> None:
    """They are several labels; the reason names --type for one of several classes."""
    assert read(labels, wanted).scheme.names == names
    assert "; each row has one label: --type single_label learns one class of several" in read(labels).because
    assert "line 3: 2 labels, but a single_label task has one" in complaint([["a"], ["b", "c"]], "single_label")


def test_class_names_are_cleaned_as_labels_are() -> None:
    """Outer spaces and decomposed accents of a data set's class names make no other class of a file's labels."""
    declared = table([0, 1], class_names={"label": ("cafe\u0301 ", "bar")})
    scheme = read_labels(declared, "label").scheme
    assert scheme.names == ("caf\u00e9", "bar")
    assert [scheme.read(declared, 2, 0), scheme.read(table([]), 2, "caf\u00e9"), scheme.read(table([]), 3, "bar")] == [
        0,
        0,
        1,
    ]


@pytest.mark.parametrize("name", ["", "\u200b", "x" * 201, "a\x07b"])
def test_class_names_that_no_adapter_can_hold(name: str) -> None:
    """Names that come with a data set are checked before the training, too."""
    with pytest.raises(DataError, match=r"class name '.*' of column label is not 1 to 200 printable characters; give"):
        read_labels(table([0, 1], class_names={"label": ("good", name)}), "label")


def test_the_same_class_twice_in_a_data_set() -> None:
    """Class names with only invisible differences are refused, because clients could not distinguish them."""
    with pytest.raises(DataError, match="class name 'café' occurs twice in column label; give --label-names"):
        read_labels(table([0, 1], class_names={"label": ("caf\u00e9", "cafe\u0301")}), "label")
