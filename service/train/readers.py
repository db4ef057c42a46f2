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
from service.train.texts import read_text


def read_file(path: Path, encoding: str | None = None) -> Table:
    """Read CSV, TSV, JSON, JSON Lines (each also with .gz behind) or Parquet, by the file's ending.

    `encoding` is that of a text file; None: UTF-8, or what its byte order mark says.

    Raises DataError for what is missing, empty, cut, or not what its ending says.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file{_similar(path)}")
    kind = data_suffix(path)
    try:
        if kind == PARQUET:
            table = read_parquet(path)
        elif kind in READERS:
            table = READERS[kind](path.name, read_text(path, encoding))
        else:
            endings, ending = ", ".join((*READERS, PARQUET)), path.suffix or "none"
            raise DataError(f"{path.name}: the ending must be one of {endings}, not {ending}; save it in such a format")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}; give yourself the right to") from error
    if not table.records:
        raise DataError(f"{path.name}: there are no rows in it; write them below the header")
    return table


def is_data_file(path: Path) -> bool:
    """Whether the name is one of a data file."""
    return data_suffix(path) in (*READERS, PARQUET)


def data_suffix(path: Path) -> str:
    """The ending that tells the format: .csv of a.csv and of a.csv.gz."""
    name = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return name.suffix.lower()


def _similar(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f", and no folder {folder} either"
    here = sorted(entry.name for entry in folder.iterdir() if is_data_file(entry))[:5]
    return f"; that folder has {', '.join(here)}" if here else ", and no data file beside it"


def _read_csv(name: str, text: str) -> Table:
    header = text.split("\n", 1)[0]
    delimiter = ";" if ";" in header and "," not in header else ","  # as spreadsheets save it in half of Europe
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    return _delimited(name, _numbered(name, reader))


def _read_tsv(name: str, text: str) -> Table:
    # quotes mean nothing unless they enclose the field: much TSV is written without a thought for them
    lines = enumerate(text.split("\n"), start=1)
    rows = ((number, [_unquote(field) for field in line.rstrip("\r").split("\t")]) for number, line in lines)
    return _delimited(name, rows)


def _unquote(field: str) -> str:
    enclosed = len(field) >= 2 and field[0] == field[-1] == '"'
    return field[1:-1].replace('""', '"') if enclosed else field


def _numbered(name: str, reader: Any) -> Iterator[tuple[int, list[str]]]:
    while True:
        line = reader.line_num + 1  # a record may span several lines: this is its first
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{name}, line {line}: {error}; close the quote, or fetch the file again if it was cut there"
            ) from None
        yield line, row


def _delimited(name: str, rows: Iterator[tuple[int, list[str]]]) -> Table:
    filled = ((line, row) for line, row in rows if any(field.strip() for field in row))
    first, header = next(filled)
    columns = tuple(column.strip() for column in header)
    twice = next((column for column in columns if column and columns.count(column) > 1), None)
    if twice is not None:
        raise DataError(f"{name}, line {first}: column {twice!r} stands there twice; rename one")
    records = []
    for line, row in filled:
        if len(row) != len(columns):
            raise DataError(
                f"{name}, line {line}: {len(row)} fields where the header has {len(columns)}; quote a field that "
                "holds the separator, or the file was cut there"
            )
        records.append((line, dict(zip(columns, row, strict=True))))
    return Table(name, columns, records)


def _read_json(name: str, text: str) -> Table:
    objects = _array(name, text) if text.lstrip()[0] == "[" else _lines(name, text)
    records = []
    columns: dict[str, None] = {}  # in order of appearance
    for line, value in objects:
        if not isinstance(value, dict):
            raise DataError(f'{name}, line {line}: not an object; write {{"text": "...", "label": "..."}}')
        columns.update(dict.fromkeys(value))
        records.append((line, value))
    return Table(name, tuple(columns), records)


def _lines(name: str, text: str) -> Iterator[tuple[int, Any]]:
    for line, content in enumerate(text.split("\n"), start=1):
        if content.strip():
            try:
                yield line, json.loads(content)
            except (ValueError, RecursionError) as error:
                message = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                raise DataError(
                    f"{name}, line {line}: not JSON ({message}); the file was cut there, or it is no JSON Lines: fetch "
                    "it again, or correct the line"
                ) from None


def _array(name: str, text: str) -> Iterator[tuple[int, Any]]:
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
        except (ValueError, RecursionError):
            break
        yield line, value
        skip(" \t\r\n")
        if at < len(text) and text[at] == ",":
            at += 1
            skip(" \t\r\n")
        elif text[at : at + 1] != "]":
            break
    if text[at:].strip() != "]":
        raise DataError(
            f"{name}, line {line}: the JSON is broken off or not valid there; fetch the file again, or correct it"
        )


PARQUET = ".parquet"
READERS: dict[str, Callable[[str, str], Table]] = {  # of the file's name and text
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".json": _read_json,
    ".jsonl": _read_json,
}
