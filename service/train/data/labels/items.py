"""Read the labels of one row of a multi-label task: a list, a text with separators, or flags."""

import ast
import contextlib
import json
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

from adapters.backbone.text_encoder import is_blank
from service.train.data.labels.names import clean_name
from service.train.data.table import Table
from service.train.errors import DataError

SEPARATORS = ("|", ";", ",")  # between the labels of one row in files without lists
UNSEPARATED = re.compile(r"""['"]\s+['"]""")  # ['a' 'b'] as numpy prints it; Python would read ['ab']
_SCALAR = r"(?:[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|True|False|None|true|false|null)"
_ITEM = rf"""(?:{_SCALAR}|'[^']*'|"[^"]*")"""
# a list as Python, numpy or JSON writes it, a tuple or a set; but [BUG], [1st] and (other) are names
LIST = re.compile(
    rf"""\[\s*(?:['"\[].*|{_SCALAR}(?:\s*,.*|(?:\s+(?:{_SCALAR}|\.\.\.))*\s*))?\]"""
    rf"|[({{]\s*{_ITEM}\s*,\s*(?:{_ITEM}\s*(?:,\s*|(?=[)}}])))*[)}}]"
    r"""|[({]\s*(?:'[^']*'|"[^"]*")\s*[)}]|\(\)""",
    re.DOTALL,
)
_WRAPPED = re.compile(
    r"(?:\w+\.)?(?:array|tensor|frozenset|set|list|tuple)\((.*?)(?:,\s*(?:dtype|device)=.*)?\)", re.DOTALL
)
_SPACED = re.compile(rf"\[\s*{_SCALAR}(?:\s+{_SCALAR})+\s*\]")  # [0 1 0] and [0. 1. 0.], as numpy prints an array
BARE_FLAGS = re.compile(r"\s*[01](?:\.0*)?(?:(?:\s*,\s*|\s+)[01](?:\.0*)?){2,}\s*")  # 0,1,0 without brackets
BRACKETED = re.compile(r"\s*\[.*\]\s*", re.DOTALL)
_ENCLOSED = re.compile(r"\s*\w*[\[({].*[\])}]\s*", re.DOTALL)
FLAGS = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}
Row = tuple[int, list[Any]]  # line of the file, labels


def flag_of(value: Any) -> bool | None:
    """The flag that 0, 1, true or false of any type means; None for another value."""
    return FLAGS.get(str(value).strip().lower())


def is_list_text(text: str) -> bool:
    """Whether a text is a list as pandas writes it into a CSV file; `[BUG]` is a name in brackets."""
    bare = text.strip()
    return bare[-1:] in "])}" and LIST.fullmatch(_unwrap(bare)) is not None


def is_enclosed(text: str) -> bool:
    """Whether brackets enclose the whole text, as in a list."""
    return _ENCLOSED.fullmatch(text) is not None


def find_separator(values: Sequence[Any]) -> str:
    """The mark that most texts of a multi-label column have between their labels."""
    texts = [value for value in values if isinstance(value, str)]
    return max(SEPARATORS, key=lambda mark: sum(mark in text for text in texts))  # the first of equals


def split_text(text: str, separator: str) -> list[str]:
    """The labels of one row, written with separators between them."""
    return [clean_name(part) for part in text.split(separator) if not is_blank(part)]


def items_of(table: Table, number: int, value: Any, separator: str | None) -> list[Any]:
    """The labels of one row. Raises DataError if the field is null, or a list that cannot be read."""
    if isinstance(value, list):
        return value
    if value is None:
        raise DataError(f"{table.place(number)}: the labels are missing; write an empty list for a row without labels")
    if isinstance(value, str) and is_list_text(value):
        return _parsed_list(table, number, value)
    if isinstance(value, str) and BARE_FLAGS.fullmatch(value):
        return re.split(r"[\s,]+", value.strip())
    if isinstance(value, str):
        parts = split_text(value, separator or SEPARATORS[0])
        if is_enclosed(value) and any(_is_unbalanced(part) for part in parts):
            raise _no_list(table, number, value)
        return list(parts)
    return [value]


def only_item(table: Table, number: int, value: Any) -> Any:
    """The label of one row of a single-label task. Raises DataError for a list of more or less than one label."""
    if not isinstance(value, list) and not (isinstance(value, str) and is_list_text(value)):
        return value
    items = items_of(table, number, value, None)
    if len(items) != 1:
        raise DataError(
            f"{table.place(number)}: {len(items)} labels, but a single_label task has one; --type multi_label takes "
            "any number"
        )
    return items[0]


def count_flags(rows: Sequence[Row]) -> int | None:
    """Count the flags of 0 and 1 in each row; None if the rows are lists of labels.

    Lists of labels have different lengths, and no label occurs twice in a list.
    """
    if not all(flag_of(item) is not None for _, items in rows for item in items):
        return None
    lengths = Counter(len(items) for _, items in rows)
    repeated = any(len({str(item) for item in items}) < len(items) for _, items in rows)
    longest = max(lengths, default=0)
    if longest > 1 and (repeated or len(lengths) == 1):
        return lengths.most_common(1)[0][0]
    return None


def refuse_amounts(table: Table, rows: Sequence[Row]) -> None:
    """Raise DataError if a list holds a number with decimals: a row has a label or lacks it."""
    for number, items in rows:
        amount = next((item for item in items if isinstance(item, float) and item % 1 > 0), None)
        if amount is not None:
            raise DataError(
                f"{table.place(number)}: the list of labels holds {amount:g}; a row has a label or lacks it: write "
                "names, or flags of 0 and 1 with --label-names"
            )


def read_flags(table: Table, number: int, items: Sequence[Any], count: int) -> tuple[int, ...]:
    """Indices of the labels that are set. Raises DataError unless there are `count` flags."""
    flags = [flag_of(item) for item in items]
    if len(flags) != count or None in flags:
        raise DataError(
            f"{table.place(number)}: labels {str(items)[:40]} are not {count} flags of 0 and 1 like the other rows; "
            "correct them"
        )
    return tuple(index for index, flag in enumerate(flags) if flag)


def _parsed_list(table: Table, number: int, text: str) -> list[Any]:
    """Parse a list as pandas writes it into a CSV file, ['a', 'b'], or as JSON does, ["a", true, null]."""
    items: Any = None
    bare = _unwrap(text.strip())
    if _SPACED.fullmatch(bare):
        bare = re.sub(r"\s+", ",", f"[{bare[1:-1].strip()}]")
    for parse in (json.loads, ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            with warnings.catch_warnings(action="ignore"):  # unknown escapes
                items = parse(bare)
            break
    if isinstance(items, set):
        items = sorted(items, key=str)
    if not isinstance(items, list | tuple) or UNSEPARATED.search(text):
        raise _no_list(table, number, text)
    return list(items)


def _unwrap(text: str) -> str:
    """The list in `array([0, 1])`, `tensor([0, 1], dtype=torch.int32)`, `frozenset({'a'})`, `set()`."""
    match = _WRAPPED.fullmatch(text) if text.endswith(")") else None
    return text if match is None else match[1].strip() or "[]"


def _is_unbalanced(part: str) -> bool:
    return any(part.count(left) != part.count(right) for left, right in ("[]", "()", "{}"))


def _no_list(table: Table, number: int, text: str) -> DataError:
    return DataError(
        f"{table.place(number)}: labels {text[:40]!r} are not a list such as ['a', 'b']; correct it, or write a|b"
    )
