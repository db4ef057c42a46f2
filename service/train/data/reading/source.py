"""Read the source that --train or --validation names: a file, or a data set of the Hub if no file can be meant."""

import hashlib
import json
import re
from pathlib import Path

from service.train.data.reading.files import has_file_ending, read_file, require_file
from service.train.data.table import Table
from service.train.errors import DataError

_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w.-]+){0,2}(:[\w.]+)?", re.ASCII)
_LIKE_A_PATH = re.compile(r"[.~/]|[A-Za-z]:[\\/]|.*\\", re.DOTALL)


def read_source(name: str, split: str, encoding: str | None) -> tuple[Table, str]:
    """Return the records of a file or of a data set's split, and the SHA-256 of the file or of the records.

    Raises DataError if the source cannot be read.
    """
    check_source(name)
    if is_file(name):
        path = Path(name).expanduser()
        table = read_file(path, encoding)
        with path.open("rb") as file:
            return table, hashlib.file_digest(file, "sha256").hexdigest()
    from service.train.data.reading.hub_reader import read_hub  # its libraries take seconds to import

    table = read_hub(name, split)
    rows = json.dumps([record for _, record in table.records], sort_keys=True, default=str)
    return table, hashlib.sha256(rows.encode()).hexdigest()


def check_source(name: str) -> None:
    """Raise DataError if the file that `name` means cannot be read, or if the Hub does not answer. Reads no data."""
    if not name.strip():
        raise DataError("the name of a data file is empty; is a shell variable unset?")
    if "://" in name:
        raise DataError(
            f"{name[:80]}: URLs are not read; download the file, or name a data set of the Hub as owner/name"
        )
    if not is_file(name):
        from service.train.data.reading.hub_access import require_data_set  # its libraries take half a second to import

        require_data_set(name)
        return
    try:
        require_file(Path(name).expanduser())
    except DataError as error:
        if _HUB_NAME.fullmatch(name) and not has_file_ending(Path(name)):
            raise DataError(f"{error} ({name}:train is the data set of the Hub)") from None
        raise


def is_file(name: str) -> bool:
    """Whether `name` means a file: it exists, looks like a path, has a file's ending, or its folder exists."""
    path = Path(name).expanduser()
    try:
        if path.exists():
            return True
    except (OSError, ValueError) as error:  # too long, or with a character that is not allowed
        cause = getattr(error, "strerror", None) or error
        raise DataError(f"{name[:80]}: not a possible file name: {cause}") from None
    if _LIKE_A_PATH.match(name) or has_file_ending(path) or _HUB_NAME.fullmatch(name) is None:
        return True
    return "/" in name and path.parent.is_dir() and ":" not in name
