"""Parse numbers as files have them: 0.5, decimal commas, percentages."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from service.train.data.labels.names import is_missing
from service.train.data.table import Table
from service.train.errors import DataError

MAX_NUMBER = 1e30  # float32 must hold its product with a weight of the head
POINT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+")  # 1,234: ambiguous, about one or over a thousand
GROUPED = re.compile(  # 1.234,5 and 1,234.5: with separators of thousands, and decimals
    r"[+-]?[0-9]{1,3}(?:(?:\.[0-9]{3})+,[0-9]+|(?:,[0-9]{3})+\.[0-9]+|(?:[ \u00a0\u202f'\u2019][0-9]{3})+[.,][0-9]+)"
)
LEADING_ZERO = re.compile(r"[+-]?0[0-9]+(\.[0-9]*)?")
Notation = Literal["whole", "point", "comma"]


@dataclass(frozen=True)
class NumberFormat:
    """The notation of the numbers in a column."""

    comma: bool = False  # decimal comma: 0,5 is a half
    percent: bool = False  # each ends in %, which is dropped

    def parse(self, value: Any) -> float | None:
        """The number; None if the value is not a number, too large, or in another notation."""
        if isinstance(value, str):
            text, percent = _split_percent(value)
            kind = _notation(text)
            if kind is None or percent != self.percent or kind == ("point" if self.comma else "comma"):
                return None
            number = float(text.replace(",", "."))
        elif isinstance(value, int | float) and not isinstance(value, bool) and not self.percent:
            if abs(value) > MAX_NUMBER:  # an integer that no float holds
                return None
            number = float(value)
        else:
            return None
        return number if abs(number) <= MAX_NUMBER else None  # false for NaN

    def read(self, table: Table, number: int, value: Any) -> float:
        """The target of one row of a regression. Raises DataError if it is not a number."""
        if is_missing(value):
            raise DataError(f"{table.place(number)}: the label is missing; remove the row, or fill it in")
        found = self.parse(value)
        if found is None and isinstance(value, str) and GROUPED.fullmatch(_split_percent(value)[0]):
            raise DataError(
                f"{table.place(number)}: label {value[:40]!r} has separators of thousands; write it without them, "
                "with a point for decimals"
            )
        if found is None:
            like = self._describe()
            raise DataError(
                f"{table.place(number)}: label {str(value)[:40]!r} is not a number{like}, as a regression needs; "
                "correct it, or --type single_label takes each as a class"
            )
        return found

    def describe(self, values: Sequence[Any]) -> str:
        """State how a label is read if its notation is ambiguous; empty for plain numbers."""
        odd = (value for value in values if isinstance(value, str) and is_amount(value))
        value = next(odd, None)
        return "" if value is None else f"; {value.strip()!r} is read as {self.parse(value):g}"

    def _describe(self) -> str:
        if self.comma or self.percent:
            return f" written like {'0,5' if self.comma else '0.5'}{'%' if self.percent else ''}"
        return ""


def find_format(table: Table, cells: Sequence[tuple[int, Any]]) -> NumberFormat:
    """Find the notation of most numbers of a regression.

    Raises DataError if every comma may be a decimal comma as well as a separator of thousands.
    """
    texts = [(number, _split_percent(value)) for number, value in cells if isinstance(value, str)]
    notations = Counter(kind for _, (text, _) in texts if (kind := _notation(text)))
    percents = sum(percent for _, (_, percent) in texts)
    comma = notations["comma"] > notations["point"]
    if comma:
        with_comma = [(number, text) for number, (text, _) in texts if _notation(text) == "comma"]
        if all(THOUSANDS.fullmatch(text) for _, text in with_comma):
            number, text = with_comma[0]
            raise DataError(
                f"{table.place(number)}: the comma in {text!r} may mark decimals or thousands; write a point for "
                "decimals and nothing for thousands, or --type single_label takes each as a class"
            )
    return NumberFormat(comma=comma, percent=2 * percents > len(texts))


def is_number(value: Any) -> bool:
    """Whether the value is a number in any notation."""
    if isinstance(value, str):
        text, _ = _split_percent(value)
        return any((_notation(text), THOUSANDS.fullmatch(text), GROUPED.fullmatch(text)))
    whole = isinstance(value, int) and not isinstance(value, bool)  # of any size: identifiers may be long
    return whole or NumberFormat().parse(value) is not None


def has_decimals(value: Any) -> bool:
    """Whether a number is written with decimals: 0.5, 1.0 and 0,5."""
    return isinstance(value, float) or (isinstance(value, str) and _notation(_split_percent(value)[0]) != "whole")


def is_amount(value: Any) -> bool:
    """Whether the number is written as an amount: with a decimal comma or a percent sign."""
    return isinstance(value, str) and ("," in value or value.rstrip().endswith("%"))


def has_leading_zero(value: Any) -> bool:
    """Whether a number has leading zeros, as codes do: 038.9."""
    return isinstance(value, str) and LEADING_ZERO.fullmatch(value.strip()) is not None


def num_decimals(value: Any) -> tuple[int, bool]:
    """The number of decimals, and whether it is more than one with a last digit 0, as in 1.10."""
    decimals = value.strip().partition(".")[2] if isinstance(value, str) else ""
    return len(decimals), len(decimals) > 1 and decimals.endswith("0")


def _split_percent(text: str) -> tuple[str, bool]:
    bare = text.strip()
    return (bare[:-1].rstrip(), True) if bare.endswith("%") else (bare, False)


def _notation(text: str) -> Notation | None:
    if POINT.fullmatch(text):
        return "point" if "." in text else "whole"
    return "comma" if COMMA.fullmatch(text) else None
