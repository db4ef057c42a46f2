"""Data files -> Table: records, each with the line that it stands on, so that an error can say where to look.

`datasets` could read these too, but neither its CSV nor its JSON reader knows the line of a record.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from service.train.errors import DataError
from service.train.hub import read_parquet
from service.train.table import Table


def read_file(path: Path) -> Table:
    """Read CSV, TSV, JSON, JSON Lines or Parquet, by the file's ending.

    Raises DataError for what is missing, empty, cut, or not what its ending says.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file{_similar(path)}")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path.name}: the ending must be one of {', '.join(READERS)}, not {path.suffix or 'none'}")
    try:
        table = reader(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not table.records:
        raise DataError(f"{path.name}: there are no rows in it")
    return table


def _similar(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f", and no folder {folder} either"
    here = sorted(entry.name for entry in folder.iterdir() if entry.suffix.lower() in READERS)[:5]
    return f"; that folder has {', '.join(here)}" if here else ""


def _text(path: Path) -> str:
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path.name}, line {line}: not UTF-8; save the file as UTF-8") from None
    if not text.strip():
        raise DataError(f"{path.name}: the file is empty")
    return text


def _read_csv(path: Path) -> Table:
    text = _text(path)
    header = text.split("\n", 1)[0]
    delimiter = ";" if ";" in header and "," not in header else ","  # as spreadsheets save it in half of Europe
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    return _delimited(path, _numbered(path, reader))


def _read_tsv(path: Path) -> Table:
    # quotes mean nothing unless they enclose the field: much TSV is written without a thought for them
    lines = enumerate(_text(path).split("\n"), start=1)
    rows = ((number, [_unquote(field) for field in line.rstrip("\r").split("\t")]) for number, line in lines)
    return _delimited(path, rows)


def _unquote(field: str) -> str:
    enclosed = len(field) >= 2 and field[0] == field[-1] == '"'
    return field[1:-1].replace('""', '"') if enclosed else field


def _numbered(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    while True:
        line = reader.line_num + 1  # a record may span several lines: this is its first
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{path.name}, line {line}: {error}; a quote is not closed, or the file was cut there"
            ) from None
        yield line, row


def _delimited(path: Path, rows: Iterator[tuple[int, list[str]]]) -> Table:
    filled = ((line, row) for line, row in rows if any(field.strip() for field in row))
    _, header = next(filled)
    columns = tuple(name.strip() for name in header)
    records = []
    for line, row in filled:
        if len(row) != len(columns):
            raise DataError(
                f"{path.name}, line {line}: {len(row)} fields where the header has {len(columns)}; quote a field that "
                "holds the separator, or the file was cut there"
            )
        records.append((line, dict(zip(columns, row, strict=True))))
    return Table(path.name, columns, records)


def _read_json(path: Path) -> Table:
    text = _text(path)
    objects = _array(path, text) if text.lstrip()[0] == "[" else _lines(path, text)
    records = []
    columns: dict[str, None] = {}  # in order of appearance
    for line, value in objects:
        if not isinstance(value, dict):
            raise DataError(f'{path.name}, line {line}: not an object such as {{"text": "...", "label": "..."}}')
        columns.update(dict.fromkeys(value))
        records.append((line, value))
    return Table(path.name, tuple(columns), records)


def _lines(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    for line, content in enumerate(text.split("\n"), start=1):
        if content.strip():
            try:
                yield line, json.loads(content)
            except ValueError as error:
                message = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                raise DataError(
                    f"{path.name}, line {line}: not JSON ({message}); the file was cut there, or it is no JSON Lines"
                ) from None


def _array(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    decoder = json.JSONDecoder()
    at, line, counted = text.index("[") + 1, 1, 0

    def skip(separators: str) -> None:
        nonlocal at, line, counted
        while at < len(text) and text[at] in separators:
            at += 1
        line += text.count("\n", counted, at)
        counted = at

    skip(" \t\r\n")
    while at < len(text) and text[at] != "]":
        try:
            value, at = decoder.raw_decode(text, at)
        except ValueError:
            break
        yield line, value
        skip(" \t\r\n")
        if at < len(text) and text[at] == ",":
            at += 1
            skip(" \t\r\n")
        elif text[at : at + 1] != "]":
            break
    if text[at:].strip() != "]":
        raise DataError(f"{path.name}, line {line}: the JSON is broken off or not valid there; was the file cut?")


READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".json": _read_json,
    ".jsonl": _read_json,
    ".parquet": read_parquet,
}
