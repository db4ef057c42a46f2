"""Labels that people take for the same, and numbers that people write in other ways than programs do."""

import pytest

from tests.support.label_columns import complaint, read


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        ("not_spam", "not-spam", "'not-spam' (2 rows) and 'not_spam' (2 rows)"),
        ("not spam", "Not-Spam", "'Not-Spam' (2 rows) and 'not spam' (2 rows)"),
        ("spam", "'spam'", "\"'spam'\" (2 rows) and 'spam' (2 rows)"),
        ("spam", "\u201cspam\u201d", r"'spam' (2 rows) and '\u201cspam\u201d' (2 rows)"),
        ("refund", "refund.", "'refund' (2 rows) and 'refund.' (2 rows)"),
        ("spam", "s\u0440am", r"'spam' (2 rows) and 's\u0440am' (2 rows)"),
        ("a & b", "a &amp; b", "'a & b' (2 rows) and 'a &amp; b' (2 rows)"),
        ("\u2764", "\u2764\ufe0f", r"'\u2764' (2 rows) and '\u2764\ufe0f' (2 rows)"),
        ("a\u200cb", "ab", r"'a\u200cb' (2 rows) and 'ab' (2 rows)"),
        ("\u0130stanbul", "istanbul", r"'\u0130stanbul' (2 rows) and 'istanbul' (2 rows)"),
    ],
)
def test_labels_that_look_alike_are_reported(one: str, other: str, shown: str) -> None:
    """The warning shows both spellings distinguishably, and --merge-spellings merges them."""
    labels = [one, other, "else"] * 2
    told = read(labels).warnings[0]
    assert "labels that look alike are different classes" in told
    assert all(part in told for part in shown.split(" and "))
    assert len(read(labels, merge_spellings=True).scheme.names) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [("1-2", "12"), ("-1", "1"), ("C", "C++"), ("C", "C#"), ("1.0.1", "1.01"), ("µs", "ms"), ("!", ".")],
)
def test_labels_that_only_resemble_each_other(one: str, other: str) -> None:
    """Signs, and marks between digits, make another label."""
    assert not any("look alike" in warning for warning in read([one, other, "else"] * 2).warnings)


@pytest.mark.parametrize("label", ["1.234,5", "1,234.5", "1 234,5", "1'234.50", "12.345.678,9", "1\u202f234,5%"])
def test_marks_between_thousands_are_refused(label: str) -> None:
    """They are neither classes nor several labels, and the remedy is to leave the marks out."""
    labels = [label, *(f"{number}.234,{number}" for number in range(2, 40))]
    assert "has separators of thousands; write it without them, with a point for decimals" in complaint(labels)
    assert read(labels, "single_label").scheme.type == "single_label"


def test_errors_of_a_spreadsheet_are_no_labels_to_learn() -> None:
    """A class called #REF! is reported like a missing label."""
    assert any(
        "'#REF!' (2) in column label is a class of its own" in text for text in read(["a", "#REF!"] * 2).warnings
    )


def test_entities_of_html_do_not_separate() -> None:
    """No advice to take `a &amp; b` for two labels."""
    assert not any("multi_label" in warning for warning in read(["a &amp; b", "b", "a &amp"] * 3).warnings)


def test_two_ways_to_write_true_are_reported() -> None:
    """1 and true would be two classes without a word."""
    assert any(
        "'0' and '1' and 'true' in column label are different classes" in text for text in read([True, 1, 0]).warnings
    )
    assert not any("classes apart" in text for labels in ([True, False], [0, 1]) for text in read(labels).warnings)


def test_amounts_that_may_be_codes_are_reported() -> None:
    """A hundred codes such as 428.0 are too many to be taken for classes, and repeat."""
    codes = [f"{400 + number}.{number % 10}" for number in range(100)]
    assert any(
        "--type single_label learns each as a class, if they are codes" in text for text in read(codes * 3).warnings
    )
    assert not read(codes).warnings
    assert not read(codes * 3, "regression").warnings
    assert not read(codes * 3, column="score").warnings


@pytest.mark.parametrize("marks", ["\u202b{}\u202c", "\u2067{}\u2069", "{}\u200f"])
def test_marks_of_direction_are_no_part_of_a_name(marks: str) -> None:
    """Word and chat programs put them around words that are written from right to left."""
    assert read([marks.format("\u0639\u0631\u0628\u064a"), "x"]).scheme.names == ("x", "\u0639\u0631\u0628\u064a")
