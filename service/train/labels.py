"""Labels as the data has them -> what the task is, and each row's target."""

import ast
import math
import re
import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapters.config import MAX_LABEL_CHARS, MAX_LABELS, TaskType, is_label_text
from service.train.errors import DataError
from service.train.table import Table

SEPARATORS = ("|", ";", ",")  # between the labels of one row, where a file has no lists
MAX_NUMBER = 1e30  # of a regression: float32 must hold it, times a weight of the head
UNSEPARATED = re.compile(r"""['"]\s+['"]""")  # ['a' 'b'] as numpy prints it, which Python reads as ['ab']
# a list as Python, numpy or JSON writes it: [BUG] is a name in brackets
LIST = re.compile(r"""\s*\[\s*((['"\[\d.+-]|(True|False|None|true|false|null)\b).*)?\]\s*""", re.DOTALL)
BRACKETED = re.compile(r"\s*\[.*\]\s*", re.DOTALL)
INVISIBLE = re.compile("[\u00ad\u061c\u200b\u200e\u200f\u2060\ufeff]")  # soft hyphen, direction marks, no width
MANY = 10  # whole numbers that are more likely amounts than classes
AMOUNTS = ("score", "rating", "stars")  # columns whose whole numbers are, too
Label = int | float | tuple[int, ...]  # index of the class; the number; indices of the classes


@dataclass(frozen=True)
class LabelScheme:
    """How the labels of a task are read; made from the training data, used on the validation data too."""

    type: TaskType
    column: str
    names: tuple[str, ...] = ()  # in the order of the logits; empty for regression
    separator: str | None = None  # of multi-label strings; None: lists

    def read(self, table: Table, number: int, value: Any) -> Label:
        """The target of one row. Raises DataError where it is missing or does not belong to the task."""
        if self.type == "regression":
            return _number(table, number, value)
        classes = table.class_names.get(self.column)
        if self.type == "single_label":
            return self._index(table, number, _name(table, number, value, classes))
        names = [_name(table, number, item, classes) for item in _items(table, number, value, self.separator)]
        return tuple(sorted({self._index(table, number, name) for name in names}))

    def _index(self, table: Table, number: int, name: str) -> int:
        try:
            return self.names.index(name)
        except ValueError:
            known = ", ".join(self.names[:5]) + (" ..." if len(self.names) > 5 else "")
            raise DataError(
                f"{table.place(number)}: label {name[:40]!r} never occurs in the training data ({known}); correct it, "
                "or remove the row"
            ) from None


def find_scheme(table: Table, column: str, wanted: TaskType | None) -> LabelScheme:
    """What the labels of the training data are: of type `wanted`, or of the type that they look like.

    Lists and labels with bars between them are several labels, numbers with a point are a regression, anything else
    is one class of several.
    """
    values = [(number, record.get(column)) for number, record in table.records]
    task_type = wanted or _guess_type([value for _, value in values], column, column in table.class_names)
    if task_type == "regression":
        targets = [_number(table, number, value) for number, value in values]
        if min(targets) == max(targets):
            raise DataError(
                f"{table.name}: every {column} is {targets[0]:g}, nothing to learn; is it the right column "
                "(--label-column)?"
            )
        return LabelScheme(task_type, column)
    classes = table.class_names.get(column)
    separator = None
    if task_type == "multi_label":
        texts = [value for _, value in values if isinstance(value, str)]
        separator = next((mark for mark in SEPARATORS if any(mark in text for text in texts)), SEPARATORS[0])
        found = {
            _name(table, number, item, classes)
            for number, value in values
            for item in _items(table, number, value, separator)
        }
    else:
        found = {_name(table, number, value, classes) for number, value in values}
    names = classes or tuple(sorted(found, key=_class_order))
    if len(found) < (2 if task_type == "single_label" else 1):
        only = f"only the label {next(iter(found))!r}" if found else "no label at all"
        raise DataError(
            f"{table.name}: {only} in column {column}; a task needs at least two classes: add rows of another, or name "
            "the right column (--label-column)"
        )
    if len(names) > MAX_LABELS:
        raise DataError(
            f"{table.name}: {len(names)} different labels in column {column}, at most {MAX_LABELS} are possible; is it "
            "the right column (--label-column), or a regression (--type regression)?"
        )
    return LabelScheme(task_type, column, names, separator)


def describe_brackets(table: Table, scheme: LabelScheme) -> list[str]:
    """A note where names of classes stand in brackets, as lists of labels do."""
    example = next((name for name in scheme.names if BRACKETED.fullmatch(name) and not _is_list(name)), None)
    if example is None:
        return []
    return [
        f"{table.name}: label {example[:40]!r} in column {scheme.column} is read as one name, brackets included; "
        f"write {[example.strip('[] ')[:40]]} for a list of labels"
    ]


def describe_numbers(table: Table, scheme: LabelScheme) -> list[str]:
    """A warning where classes look like amounts, which a regression would learn."""
    named = scheme.column in table.class_names or not all(_looks_number(name) for name in scheme.names)
    least = 3 if scheme.column in AMOUNTS else MANY
    if scheme.type != "single_label" or named or len(scheme.names) < least:
        return []
    return [
        f"{table.name}: each of the {len(scheme.names)} whole numbers in column {scheme.column} is a class of its own; "
        "--type regression learns them as amounts"
    ]


def _guess_type(values: Sequence[Any], column: str, has_classes: bool) -> TaskType:
    if any(isinstance(value, list) for value in values):
        return "multi_label"
    if has_classes:
        return "single_label"
    texts = [value for value in values if isinstance(value, str)]
    filled = [text for text in texts if text.strip()]
    if filled and all(_is_list(text) for text in filled):
        return "multi_label"
    if any("|" in text or (column == "labels" and ";" in text) for text in texts):
        return "multi_label"
    floats = sum(isinstance(value, float) or _looks_real(value) for value in values)
    numbers = sum(_looks_number(value) for value in values)
    # nine in ten, so that one slip of the pen is told as such, and does not make a class of every number
    return "regression" if floats and numbers >= 0.9 * len(values) else "single_label"


def _looks_number(value: Any) -> bool:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return False
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER  # NaN is not


def _looks_real(value: Any) -> bool:
    return isinstance(value, str) and "." in value and _looks_number(value)


def _number(table: Table, number: int, value: Any) -> float:
    if _is_missing(value):
        raise DataError(f"{table.place(number)}: the label is missing; remove the row, or fill it in")
    if not _looks_number(value):
        raise DataError(
            f"{table.place(number)}: label {str(value)[:40]!r} is not a number, as a regression needs; correct it, or "
            "--type single_label takes each as a class"
        )
    return float(value)


def _is_missing(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and not value.strip())


def _items(table: Table, number: int, value: Any, separator: str | None) -> list[Any]:
    if isinstance(value, list):
        return value
    if value is None:
        raise DataError(f"{table.place(number)}: the labels are missing; write an empty list for none")
    if isinstance(value, str) and _is_list(value):
        return _parsed_list(table, number, value)
    if isinstance(value, str):
        return [item.strip() for item in value.split(separator or SEPARATORS[0]) if item.strip()]
    return [value]


def _is_list(text: str) -> bool:
    return LIST.fullmatch(text) is not None


def _parsed_list(table: Table, number: int, text: str) -> list[Any]:
    """['a', 'b'] as pandas writes a list into a CSV file."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of odd escapes
            items = list(ast.literal_eval(text.strip()))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        items = None
    if items is None or UNSEPARATED.search(text):
        raise DataError(
            f"{table.place(number)}: labels {text[:40]!r} are no list such as ['a', 'b']; correct it, or write a|b"
        )
    return items


def _name(table: Table, number: int, value: Any, classes: tuple[str, ...] | None) -> str:
    if classes and isinstance(value, int):
        if not 0 <= value < len(classes):  # the Hub's test splits have -1
            raise DataError(
                f"{table.place(number)}: label {value} is none of the {len(classes)} classes; take a "
                "split whose labels are public"
            )
        return classes[value]
    if _is_missing(value):
        raise DataError(f"{table.place(number)}: the label is missing; remove the row, or fill it in")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int | float) or (isinstance(value, float) and math.isinf(value)):
        what = value if isinstance(value, float) else type(value).__name__
        raise DataError(
            f"{table.place(number)}: a label must be a text or a number, not {what}; correct it, or name the right "
            "column (--label-column)"
        )
    name = clean_name(str(value))
    if not name:
        raise DataError(f"{table.place(number)}: label {str(value)[:40]!r} has no visible character; write a name")
    if len(name) > MAX_LABEL_CHARS:
        raise DataError(
            f"{table.place(number)}: label {name[:40]!r}... has {len(name):,} characters, at most {MAX_LABEL_CHARS} "
            "are possible; is it the right column (--label-column)?"
        )
    if not is_label_text(name):
        odd = next(char for char in name if not is_label_text(char))
        raise DataError(f"{table.place(number)}: label {name[:40]!r} holds the control character {odd!a}; remove it")
    return name


def clean_name(text: str) -> str:
    """Return the label with plain spaces, without invisible characters, and without joiners at its ends."""
    spaced = "".join(" " if unicodedata.category(char) == "Zs" else char for char in INVISIBLE.sub("", text))
    return spaced.strip(" \t\r\n\u200c\u200d")


def _class_order(name: str) -> tuple[int, int, str]:
    digits = name.removeprefix("-")
    return (0, int(name), name) if digits.isdecimal() and digits.isascii() else (1, 0, name)
