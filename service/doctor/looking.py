"""A connection to the registry that reads, makes nothing, and migrates nothing."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import sqlalchemy
from sqlalchemy import Connection
from sqlalchemy.pool import NullPool

from service.registry.database import create_engine, reading
from service.registry.sqlite import file_of
from service.registry.time_limit import CALL_TIMEOUT_S
from service.registry.url import parse_url

_WAL = b"\x02\x02"  # bytes 18 and 19 of the file: written and read with a write-ahead log


def sqlite_path(url: str) -> Path | None:
    """The file of a SQLite registry; None of another. Raises InvalidInput, as the server does."""
    parsed = parse_url(url)
    return file_of(parsed).absolute() if parsed.get_backend_name() == "sqlite" else None


def in_wal_mode(path: Path) -> bool:
    """As the file itself says: to ask SQLite could make files beside it."""
    with path.open("rb") as file:
        return file.read(20)[18:] == _WAL


@contextmanager
def looking(url: str) -> Iterator[Connection]:
    """A read transaction. Raises RegistryUnavailable, or InvalidInput where the URL is none of ours."""
    path = sqlite_path(url)
    engine = create_engine(url) if path is None else _read_only(path)
    try:
        with reading(engine) as connection:
            yield connection
    finally:
        engine.dispose()


def _read_only(path: Path) -> sqlalchemy.Engine:
    still = "&immutable=1" if in_wal_mode(path) else ""  # else SQLite would make the files of the log
    address = f"file:{quote(str(path))}?mode=ro{still}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(address, uri=True, timeout=CALL_TIMEOUT_S, check_same_thread=False)

    return sqlalchemy.create_engine("sqlite://", creator=connect, poolclass=NullPool)
