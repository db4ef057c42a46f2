"""Read a data file into a Table with the reader for its ending.

`datasets` reads these files, too, but its CSV and JSON readers do not keep the line of a record.
"""

import difflib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from service.train.data.reading.csv_reader import read_delimited
from service.train.data.reading.json_reader import read_json
from service.train.data.reading.text import SPREADSHEET, decode, doubt_encoding, read_bytes
from service.train.data.table import Table
from service.train.errors import DataError

PARQUET = ".parquet"
READERS: dict[str, Callable[[str, str], Table]] = {  # from the name and the text of a file
    ".csv": lambda name, text: read_delimited(name, text, ","),
    ".tsv": lambda name, text: read_delimited(name, text, "\t"),
    ".tab": lambda name, text: read_delimited(name, text, "\t"),
    ".txt": lambda name, text: read_delimited(name, text, "\t"),
    ".json": read_json,
    ".jsonl": read_json,
    ".ndjson": read_json,
}
REMEDIES = {  # for files that are not read
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers"), SPREADSHEET),
    **dict.fromkeys((".zip", ".bz2", ".xz", ".zst", ".7z", ".tar", ".tgz", ".rar"), "unpack it first"),
    **dict.fromkeys((".arrow", ".feather", ".orc", ".avro", ".pkl", ".pickle", ".rds", ".sqlite", ".db"), ""),
    **dict.fromkeys((".md", ".html", ".xml", ".yaml", ".yml", ".doc", ".docx", ".pdf", ".dat", ".log"), ""),
}
NUM_NEAR = 5


def read_file(path: Path, encoding: str | None = None) -> Table:
    """Read CSV, TSV, JSON or JSON Lines, each also gzipped, or Parquet, by the file's ending.

    `encoding` applies to a text file without a byte order mark; None means UTF-8. Raises DataError for a file that is
    missing, empty, cut, or not of the format that its ending says.
    """
    require_file(path)
    kind = find_ending(path)
    try:
        if kind == PARQUET:
            from service.train.data.reading.parquet_reader import read_parquet  # pyarrow takes a second to import

            table = read_parquet(path.name, read_bytes(path))
        else:
            raw = read_bytes(path)
            table = READERS[kind](path.name, decode(path.name, raw, encoding))
            table = replace(table, notes=(*doubt_encoding(path.name, raw, encoding), *table.notes))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}; check its permissions") from error
    if not table.records:
        raise DataError(f"{path.name}: it has no rows; write them below the header")
    return table


def require_file(path: Path) -> None:
    """Raise DataError, with similar names or a remedy, unless `path` is a file with the ending of a data file."""
    if path.is_dir():
        raise DataError(f"{path}: a folder; name the file in it{_near(path / 'train')}")
    if not path.exists():
        raise DataError(f"{path}: no such file{_similar(path)}")
    ending = find_ending(path)
    if ending not in (*READERS, PARQUET):
        endings = ", ".join((*READERS, PARQUET))
        remedy = REMEDIES.get(ending) or "save it in one of these formats"
        raise DataError(f"{path.name}: the ending must be one of {endings}, not {ending or 'none'}; {remedy}")


def has_file_ending(path: Path) -> bool:
    """Whether the name has the ending of a data file, or of another file that may be meant as one."""
    return find_ending(path) in (*READERS, PARQUET, *REMEDIES) or path.suffix.lower() == ".gz"


def find_ending(path: Path) -> str:
    """The ending of the format: .csv for a.csv and for a.csv.gz."""
    name = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return name.suffix.lower()


def _similar(path: Path) -> str:
    if not path.parent.is_dir():
        return f", and no folder {path.parent} either"
    return _near(path) or ", and no data file beside it"


def _near(path: Path) -> str:
    """A hint with the data files in the folder of `path`: those with a similar name, or the first ones."""
    try:
        here = sorted(entry.name for entry in path.parent.iterdir() if find_ending(entry) in (*READERS, PARQUET))
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, here, n=NUM_NEAR)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; that folder has {', '.join(here[:NUM_NEAR])}" if here else ""
