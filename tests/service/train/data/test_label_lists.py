"""Lists of labels as programs print them, and names in brackets, which are not a lists."""

from typing import Any

import pytest

from tests.support.label_columns import complaint, read, targets


@pytest.mark.parametrize(
    "labels",
    [
        ["('a', 'b')", "('b',)", "()"],
        ["{'a', 'b'}", "{'b'}", "set()"],
        ["frozenset({'a', 'b'})", "frozenset({'b'})", "frozenset()"],
        ["array(['a', 'b'], dtype=object)", "array(['b'])", "[]"],
        ["list(['a', 'b'])", '["b"]', "[ ]"],
    ],
)
def test_lists_as_python_prints_them(labels: list[str]) -> None:
    """Tuples, sets and arrays in texts are several labels, and their brackets belong to no name."""
    for wanted in (None, "multi_label"):
        scheme = read(labels, wanted).scheme
        assert (scheme.type, scheme.names) == ("multi_label", ("a", "b"))
        assert targets(read(labels), labels) == [(0, 1), (1,), ()]


FLAGS = [
    ["[0 1 0]", "[1 0 0]"],
    ["[0. 1. 0.]", "[1. 0. 0.]"],
    ["[False  True False]", "[ True False False]"],
    ["tensor([0, 1, 0], device='cuda:0')", "tensor([1, 0, 0])"],
    ["array([0, 1, 0], dtype=int32)", "np.array([1, 0, 0])"],
    ["(0, 1, 0)", "(1, 0, 0)"],
    ["0 1 0", "1 0 0"],
    ["0,1,0", "1, 0, 0"],
    ["0.0 1.0 0.0", "1.0 0.0 0.0"],
]


@pytest.mark.parametrize("labels", FLAGS)
def test_flags_as_programs_print_them(labels: list[str]) -> None:
    """They are refused without names, and read with them: never classes called `[0 1 0]`."""
    assert "has 3 flags of 0 and 1, and no names for them" in complaint(labels)
    reading = read(labels, names=("x", "y", "z"))
    assert (reading.scheme.type, targets(reading, labels)) == ("multi_label", [(1,), (0,)])


@pytest.mark.parametrize(
    "name",
    ["[1st]", "[.NET]", "[-]", "[True Story]", "[404 error]", "[None of these]", "(other)", "(1)", "{x}", "[BUG, UI]"],
)
def test_names_in_brackets(name: str) -> None:
    """A text in brackets that is not a list of quoted texts or of numbers is one name."""
    assert read([name, "other", name, "other"]).scheme.names == tuple(sorted([name, "other"]))


@pytest.mark.parametrize(
    ("labels", "example"),
    [(["[BUG, UI]", "[UI]"], "[BUG, UI]"), (["{a,b}", "{b}"], "{a,b}"), (["(a, b)", "(c)"], "(a, b)")],
)
def test_lists_without_quotes_are_never_cut_within_their_brackets(labels: list[Any], example: str) -> None:
    """No label is called `[BUG`; the warning names the ways to write several labels."""
    warning = next(text for text in read(labels * 9).warnings if "taken as the name of one class" in text)
    assert warning.endswith("write ['a', 'b'] or a|b for several labels")
    assert f"labels {example!r} are not a list such as ['a', 'b']" in complaint(labels, "multi_label")


def test_a_shortened_array_is_refused() -> None:
    """An array that numpy has shortened cannot be read."""
    assert "are not a list" in complaint(["[0 1 0 ... 0 1]", "[1 0 0 ... 0 0]"])
