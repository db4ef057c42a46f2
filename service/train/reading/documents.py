"""JSON Lines, JSON arrays, and single JSON documents of other forms -> Table."""

import json
import re
from collections.abc import Iterator
from typing import Any

from service.train.errors import DataError
from service.train.reading.document_shapes import find_rows
from service.train.reading.lines import count_line_ends
from service.train.table import Record, Table

_SPACE = re.compile(r"[ \t\r\n]*")


def read_json(name: str, text: str) -> Table:
    """One object a line, objects one behind another, an array of objects, or one document that holds the rows.

    Raises DataError for what is no JSON, or holds no rows.
    """
    start = _SPACE.match(text).end()  # type: ignore[union-attr]  # it matches nothing, too
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
    """Values one behind another, each with the line on which it begins."""
    position = _Position(text)
    while at < len(text):
        line = position.line(at)
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            remedy = "the file was cut there, or it is no JSON Lines: fetch it again, or correct the line"
            if line == 1 and text[at] != "{":
                remedy = "name it .csv or .tsv if it is a table, or begin with {"
            raise DataError(f"{name}, line {line}: not JSON ({_describe(error)}); {remedy}") from None
        yield line, value
        at = _skip(text, at)


def _items(name: str, text: str, at: int) -> Iterator[tuple[int, Any]]:
    """The items of the array that begins at `at`, each with the line on which it begins."""
    position = _Position(text)
    at = _skip(text, at + 1)
    what, line = "it ends there", position.line(at)
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
            f"{name}, line {line}: the JSON is broken off or not valid there ({what}); fetch the file again, or "
            "correct it"
        )


def _skip(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]


class _Position:
    """The line of ascending positions in a text."""

    def __init__(self, text: str) -> None:
        self._text, self._line, self._counted = text, 1, 0

    def line(self, at: int) -> int:
        """The 1-based line on which position `at` lies."""
        self._line += count_line_ends(self._text, self._counted, at)
        self._counted = at
        return self._line


def _describe(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else str(error)


def _unique(pairs: list[tuple[str, Any]]) -> Record:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)[:40]!r} stands there twice")
    return record


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)
