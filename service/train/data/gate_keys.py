"""The column whose values choose a gate: users, languages, annotators."""

from typing import Any

from adapters.config import MAX_KEY_BYTES
from adapters.gates import MAX_KEYS
from service.train.data.split import Split
from service.train.data.table import Table
from service.train.errors import DataError, shorten


def read_key(table: Table, number: int, column: str, value: Any) -> str:
    """The key of one row, as written; a whole number is its digits. Raises DataError if it cannot be a key."""
    if type(value) is int:
        value = str(value)
    if value is None or value == "":
        raise DataError(f"{table.place(number)}: {column} is empty; fill it in, or remove the row")
    if not isinstance(value, str):
        raise DataError(
            f"{table.place(number)}: {column} is {shorten(value)}, neither a text nor a whole number; put it in quotes"
        )
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise DataError(
            f"{table.place(number)}: {column} has half a Unicode character (a lone surrogate); correct it"
        ) from None
    if size > MAX_KEY_BYTES:
        raise DataError(
            f"{table.place(number)}: {column} has {size:,} bytes, and a key at most {MAX_KEY_BYTES}; is it the right "
            "column (--gate)?"
        )
    return value


def check_keys(split: Split, column: str) -> None:
    """Raise DataError if the keys of all rows are too few or too many for gates."""
    count = len(set(split.keys))
    if count < 2:
        raise DataError(
            f"{split.name}: every {column} is {shorten(split.keys[0])}, so there is nothing to choose gates by; name "
            "another column, or leave out --gate"
        )
    if count > MAX_KEYS:
        raise DataError(
            f"{split.name}: column {column} has {count:,} different values, and a gated file holds at most "
            f"{MAX_KEYS:,} keys; keep the rows of fewer, and the others get the mean gate"
        )
