"""Read JSON Lines, JSON arrays and JSON documents that hold rows into a Table."""

import json
import re
from collections.abc import Iterator
from typing import Any

from service.train.data.columns import RECOGNISED
from service.train.data.reading.text import count_line_ends
from service.train.data.table import Record, Table
from service.train.errors import DataError, shorten

_SPACE = re.compile(r"[ \t\r\n]*")


def read_json(name: str, text: str) -> Table:
    """Read one object per line, objects in a row, an array of objects, or one document that holds the rows.

    Raises DataError if the text is not JSON or a row is not an object.
    """
    start = _SPACE.match(text).end()  # type: ignore[union-attr]  # it always matches
    if text[start] == "[":
        return _tabulate(name, _items(name, text, start))
    values = list(_values(name, text, start))
    if len(values) == 1 and isinstance(values[0][1], dict) and (found := find_rows(values[0][1])):
        rows, note = found
        return _tabulate(name, enumerate(rows, start=1), "row", (f"{name}: {note}",))
    return _tabulate(name, values)


def _tabulate(name: str, values: Any, unit: str = "line", notes: tuple[str, ...] = ()) -> Table:
    records: list[tuple[int, Record]] = []
    columns: dict[str, None] = {}  # in order of appearance
    for number, value in values:
        if not isinstance(value, dict):
            raise DataError(f'{name}, {unit} {number}: not an object; write {{"text": "...", "label": "..."}}')
        columns.update(dict.fromkeys(value))
        records.append((number, value))
    return Table(name, tuple(columns), records, unit, notes=notes)


def _values(name: str, text: str, at: int) -> Iterator[tuple[int, Any]]:
    """Yield consecutive values, each with its first line."""
    position = _Position(text)
    while at < len(text):
        line = position.line(at)
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            remedy = "the file was cut there, or is not JSON Lines: fetch it again, or correct the line"
            if line == 1 and text[at] != "{":
                remedy = "rename it to .csv or .tsv if it is a table, or begin with {"
            raise DataError(f"{name}, line {line}: not JSON ({_describe(error)}); {remedy}") from None
        yield line, value
        at = _skip(text, at)


def _items(name: str, text: str, at: int) -> Iterator[tuple[int, Any]]:
    """Yield the items of the array at position `at`, each with its first line."""
    position = _Position(text)
    at = _skip(text, at + 1)
    what, line = "the file ends", position.line(at)
    while at < len(text) and text[at] != "]":
        line = position.line(at)
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            what = _describe(error)
            break
        yield line, value
        at = _skip(text, at)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
        elif text[at : at + 1] != "]":
            what, line = "a comma or ] is missing", position.line(at)
            break
    if text[at:].strip() != "]":
        raise DataError(
            f"{name}, line {line}: the JSON is cut or not valid there ({what}); fetch the file again, or correct it"
        )


def _skip(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]


class _Position:
    """Converts ascending positions in a text into line numbers."""

    def __init__(self, text: str) -> None:
        self._text, self._line, self._counted = text, 1, 0

    def line(self, at: int) -> int:
        """The 1-based line of position `at`."""
        self._line += count_line_ends(self._text, self._counted, at)
        self._counted = at
        return self._line


def _describe(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error)


def _unique(pairs: list[tuple[str, Any]]) -> Record:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)[:40]!r} occurs twice")
    return record


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)


ROWS_UNDER = ("data", "rows", "records", "items", "examples", "results", "instances", "train")  # usual names of a key

Found = tuple[list[Any], str]


def find_rows(document: dict[str, Any]) -> Found | None:
    """Return the rows in a document and a note on how they were found; None if the document is a row itself.

    The rows may be under one key (`{"data": [...]}`, `{"response": {"docs": [...]}}`), or in a form of pandas:
    `to_json` with the orients split, table, columns and index, or `to_dict("list")`.
    """
    shapes = (_split, _wrapped, _nested, _columns, _deep)
    return next((found for shape in shapes if (found := shape(document))), None)


def _split(document: dict[str, Any]) -> Found | None:
    columns, data = document.get("columns"), document.get("data")
    if not isinstance(columns, list) or not isinstance(data, list):
        return None
    if not all(isinstance(row, list) and len(row) == len(columns) for row in data):
        return None
    names = [str(column) for column in columns]
    return [dict(zip(names, row, strict=True)) for row in data], "the rows are the lists under 'data'"


def _wrapped(document: dict[str, Any]) -> Found | None:
    lists = [
        key
        for key, value in document.items()
        if isinstance(value, list) and all(isinstance(row, dict) for row in value)
    ]
    usual = [key for key in ROWS_UNDER if key in lists]
    if len(lists) == 1 and not any(key.lower() in RECOGNISED for key in document):
        usual = lists  # no other key could be a text or a label, so the document is not a row
    return (document[usual[0]], f"the rows are those under {shorten(usual[0])}") if usual else None


def _deep(document: dict[str, Any]) -> Found | None:
    """The rows within the only object of a document that holds any; None if the document is a row itself."""
    if any(key.lower() in RECOGNISED for key in document):
        return None
    inner = ((key, value) for key, value in document.items() if isinstance(value, dict))
    found = [(inside, key) for key, value in inner if (inside := _wrapped(value) or _deep(value)) is not None]
    if len(found) != 1:
        return None
    (rows, note), key = found[0]
    return rows, f"{note} in {shorten(key)}"


def _nested(document: dict[str, Any]) -> Found | None:
    """`{"text": {"0": ...}, "label": {"0": ...}}`, or `{"0": {"text": ..., "label": ...}}`."""
    inner = list(document.values())
    if not all(isinstance(value, dict) and value.keys() == inner[0].keys() for value in inner) or not inner:
        return None
    if all(key.isdecimal() for key in document) and not all(key.isdecimal() for key in inner[0]):
        return inner, "each value of the object is a row"
    if len(document) > 1 and all(not isinstance(item, dict) for value in inner for item in value.values()):
        rows = [{column: value[key] for column, value in document.items()} for key in inner[0]]
        return rows, "the rows are put together from its columns"
    return None


def _columns(document: dict[str, Any]) -> Found | None:
    """`{"text": [...], "label": [...]}`."""
    inner = list(document.values())
    if len(inner) < 2 or not all(isinstance(value, list) and len(value) == len(inner[0]) for value in inner):
        return None
    rows = [dict(zip(document, values, strict=True)) for values in zip(*inner, strict=True)]
    return rows, "the rows are put together from its columns"
