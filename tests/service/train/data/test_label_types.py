"""The type of a task is inferred from its labels, alike from CSV and JSON Lines, and with the reason."""

from typing import Any

import pytest

from service.train.data.labels import LabelReading, read_labels
from service.train.data.table import Table
from service.train.errors import DataError


def table(labels: list[Any], column: str = "label", **others: Any) -> Table:
    """A file with these labels, the first on line 2."""
    return Table("a.csv", ("text", column), [(i, {column: label}) for i, label in enumerate(labels, start=2)], **others)


def read(labels: list[Any], wanted: Any = None, *, column: str = "label", **options: Any) -> LabelReading:
    """Read a column of labels."""
    return read_labels(table(labels, column), column, wanted, **options)


def targets(reading: LabelReading, labels: list[Any]) -> list[Any]:
    """Targets of other labels of the same column."""
    other = table(labels, reading.scheme.column)
    return [reading.scheme.read(other, number, label) for number, label in enumerate(labels, start=2)]


def complaint(labels: list[Any], wanted: Any = None, **options: Any) -> str:
    """The error that reading gives; always one line."""
    with pytest.raises(DataError) as caught:
        read(labels, wanted, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("labels", "names", "because"),
    [
        (["428.0", "038.9", "38.9"] * 9, ("038.9", "38.9", "428.0"), "leading zeros such as '038.9'"),
        (["428.0", "401.9", "250.1"] * 9, ("250.1", "401.9", "428.0"), "3 different numbers such as '428.0'"),
        (["1.10", "1.2", "1.1"], ("1.1", "1.10", "1.2"), "end in 0 such as '1.10', as versions do"),
        (["1.10", "1.2", "1.1"] * 9, ("1.1", "1.10", "1.2"), "such as '1.10'"),
        ([1.1, 1.2, 1.1] * 9, ("1.1", "1.2"), "2 different numbers such as '1.1', '1.2', few for 27 rows"),
        (["0.0", "1.0", "1.0"], ("0", "1"), "with a point as spreadsheets write them beside an empty field"),
        ([0.0, 1.0, 1.0], ("0", "1"), "with a point as spreadsheets write them beside an empty field"),
        ([9, 10, 1], ("1", "9", "10"), "3 different whole numbers such as '9', '10', '1'"),
        (["9", "10", "1"], ("1", "9", "10"), "3 different whole numbers such as '9', '10', '1'"),
        (["007", "7", "08"], ("007", "7", "08"), "leading zeros such as '007'"),
        (["1e5", "2e3"] * 9, ("1e5", "2e3"), "2 different whole numbers"),
        ([10**40, 7], ("7", "1" + "0" * 40), "2 different whole numbers"),
        (["b", "a", "b"], ("a", "b"), "2 different texts such as 'b', 'a'"),
    ],
)
def test_codes_and_versions_are_classes(labels: list[Any], names: tuple[str, ...], because: str) -> None:
    """Numbers that repeat, have leading zeros, or are all whole, are names, and the reason is given."""
    reading = read(labels)
    assert (reading.scheme.type, reading.scheme.names) == ("single_label", names)
    assert because in reading.because
    assert ("--type regression for amounts" in reading.because) == ("texts" not in reading.because)


@pytest.mark.parametrize(
    ("labels", "column", "expected"),
    [
        (["0.5", "1", "2.5", "3"], "label", [0.5, 1, 2.5, 3]),
        ([0.5, 1, 2.5, 3], "label", [0.5, 1, 2.5, 3]),
        (["3.5", "4", "1", "2.25"] * 9, "score", [3.5, 4, 1, 2.25]),
        (["3.5", "4", "1", "2.25"] * 9, "Rating ", [3.5, 4, 1, 2.25]),
        (["3.5", "4", "1", "2.25"] * 9, "meta.Stars", [3.5, 4, 1, 2.25]),
        ([25.0, 50.0, 75.0] * 9, "score", [25, 50, 75]),
        (["0,5", "1", "2,25"] * 9, "label", [0.5, 1, 2.25]),
        (["0.5%", "1 %", "-2.25%"] * 9, "label", [0.5, 1, -2.25]),
        (["0,5 %", "10,25\xa0%", "7%"] * 9, "label", [0.5, 10.25, 7]),
        (["1234,5", "1,234"] * 9, "label", [1234.5, 1.234]),
        ([f"{i}.5" for i in range(30)] * 2, "label", [0.5, 1.5]),
    ],
)
def test_amounts_are_a_regression(labels: list[Any], column: str, expected: list[float]) -> None:
    """Many different numbers, those of a score, decimal commas and percentages; and the reason is given."""
    reading = read(labels, column=column)
    assert reading.scheme.type == "regression"
    assert "--type single_label takes each as a class" in reading.because
    assert targets(reading, labels[: len(expected)]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["0,5", "1,25", "0.5"] * 9, "a.csv, line 4: label '0.5' is not a number written like 0,5, as a regression"),
        (["0.5%", "7%", "0.5"] * 9, "a.csv, line 4: label '0.5' is not a number written like 0.5%, as a regression"),
        (["0.5", "0.7", "0,6"] * 9, "a.csv, line 4: label '0,6' is not a number, as a regression needs"),
        (["1,234", "12,345", "7"] * 9, "a.csv, line 2: the comma in '1,234' may mark decimals or thousands"),
        (["1,234.5", "2.5"], "a.csv, line 2: label '1,234.5' has separators of thousands"),
        (["1_000", "2.5"], "a.csv, line 2: label '1_000' is not a number"),
        ([10**400, 1], "is not a number"),
        (["inf", "1"], "a.csv, line 2: label 'inf' is not a number"),
        ([True, 1.5], "a.csv, line 2: label 'True' is not a number"),
        ([None, 1.5], "a.csv, line 2: the label is missing"),
    ],
)
def test_a_number_that_could_be_two_is_refused(labels: list[Any], message: str) -> None:
    """In a regression every number is written alike, and no comma can mean two things."""
    assert message in complaint(labels, "regression")


def test_mixed_notations_are_no_classes() -> None:
    """A column of numbers, of which some have a comma and some a point, is refused with the line of the odd one."""
    assert "line 4: label '0.5' is not a number written like 0,5" in complaint(["0,5", "1,25", "0.5"] * 9)


@pytest.mark.parametrize("column", ["label", "Labels", "row.labels"])
def test_one_separator_does_not_make_several_labels(column: str) -> None:
    """A bar in one label of 61 is part of its name, with a warning; in many labels it separates."""
    labels = ["a", "b", "c"] * 20 + ["a|b"]
    reading = read(labels, column=column)
    assert (reading.scheme.type, reading.scheme.names) == ("single_label", ("a", "a|b", "b", "c"))
    assert reading.warnings == (
        "a.csv, line 62: label 'a|b' is taken as the name of one class; such labels with '|': 1 of 61; "
        "--type multi_label splits them into several labels",
    )
    assert read(labels, "multi_label", column=column).scheme.names == ("a", "b", "c")
    several = read([*labels[:20], *["a|b"] * 3], column=column)
    assert (several.scheme.type, several.scheme.names) == ("multi_label", ("a", "b", "c"))
    assert "3 of 23 labels have '|' in them, such as 'a|b'; --type single_label" in several.because


def test_the_most_frequent_separator_separates() -> None:
    """A stray bar in a column of semicolons is part of a name."""
    reading = read(["a;b", "b;c", "a|x;c"], "multi_label")
    assert reading.scheme.names == ("a", "a|x", "b", "c")


def test_labels_with_commas_may_be_several() -> None:
    """Commas do not split labels; if the parts are labels, too, a warning says so."""
    reading = read(["red", "blue", "red,blue", "red", "blue, red"])
    assert reading.scheme.type == "single_label"
    assert (
        "line 4: label 'red,blue' is taken as the name of one class; such labels with ',': 2 of 5;"
        in reading.warnings[0]
    )
    assert read(["Paris, Texas", "London", "Rome"]).warnings == ()


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


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            [{"name": "a"}, {"name": "b"}],
            "line 2: the label is an object; name the field in it that is the label (name) with",
        ),
        (
            [["a"], [{"name": "b"}]],
            "line 3: the label is an object; name the field in it that is the label (name) with",
        ),
        ([["a"], [None]], "line 3: the label is missing"),
        (["a", None], "line 3: the label is missing"),
        (["a", float("nan")], "line 3: the label is missing"),
        (["a", " "], "line 3: the label is missing"),
        (["a", float("inf")], "line 3: a label must be a text or a number, not inf"),
        ([["a"], None], "line 3: the labels are missing; write an empty list for a row without labels"),
    ],
)
def test_what_is_no_label(labels: list[Any], message: str) -> None:
    """Missing values and objects are refused with their line."""
    assert message in complaint(labels)


def test_a_class_called_nan_is_reported() -> None:
    """Texts that programs write for a missing value are classes, with a warning that counts them."""
    (warning,) = read(["a", "nan", "b", "nan", "N/A"]).warnings
    assert "'N/A' (1), 'nan' (2) in column label is a class of its own; remove its rows" in warning


def test_a_stray_text_among_numbers_is_reported() -> None:
    """One label that is not a number, where all others are, looks like a slip."""
    reading = read([*["1", "2", "3"] * 10, "four"])
    assert (
        "line 32: label 'four' is not a number, unlike most labels; such labels in column label: 1 of 31"
        in reading.warnings[0]
    )


@pytest.mark.parametrize(
    ("labels", "read_as"),
    [(["0,5", "1,25"], "; '0,5' is read as 0.5"), (["7%", "1.5 %"], "; '7%' is read as 7"), (["0.5", "1.25"], "")],
)
def test_the_notation_of_amounts_is_reported(labels: list[str], read_as: str) -> None:
    """How a decimal comma and a percent sign are read."""
    assert read(labels, "regression").because == f"as --type says{read_as}"


def test_objects_in_texts_are_reported() -> None:
    """A CSV export of nested data has names such as {'id': 1}."""
    assert "label \"{'id': 1}\" in column label is an object in a text" in read(["{'id': 1}", "x"]).warnings[0]


def test_only_what_may_be_amounts_is_hinted_at() -> None:
    """Few numbers with decimals get a hint; codes and versions are no amounts."""
    assert "each of the 2 numbers in column label is a class" in read(["1.5", "2.25"] * 9).warnings[0]
    assert read(["038.9", "428.0"] * 9).warnings == read(["1.10", "1.2"] * 9).warnings == ()


def test_lost_zeros_are_reported() -> None:
    """JSON parses 1.10 to 1.1, so that codes without quotes may be one; in quotes they are kept."""
    assert any("codes and versions need quotes" in warning for warning in read([1.1, 1.2] * 9).warnings)
    assert not any("quotes" in warning for warning in read(["1.1", "1.2"] * 9).warnings)


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
