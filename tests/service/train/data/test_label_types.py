"""The type of a task is inferred from its labels, alike from CSV and JSON Lines, and with the reason."""

from typing import Any

import pytest

from tests.support.label_columns import complaint, read, targets


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
