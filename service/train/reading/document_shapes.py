"""One JSON document that holds all rows, in the forms that programs write."""

from typing import Any

from service.train.columns import RECOGNISED
from service.train.reading.excerpt import shorten

ROWS_UNDER = ("data", "rows", "records", "items", "examples", "results", "instances", "train")  # usual names of a key

Found = tuple[list[Any], str]


def find_rows(document: dict[str, Any]) -> Found | None:
    """The rows in a document, and a note that says where; None where it is one row itself.

    It may hold them under one key (`{"data": [...]}`, `{"response": {"docs": [...]}}`), or be what pandas writes: of
    `to_json`'s forms split, table, columns and index, or `to_dict("list")`.
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
        usual = lists  # beside it nothing that could be a text or a label: it is no row
    return (document[usual[0]], f"the rows are those under {shorten(usual[0])}") if usual else None


def _deep(document: dict[str, Any]) -> Found | None:
    """The rows within the one object of a document that holds some, where the document is no row itself."""
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
