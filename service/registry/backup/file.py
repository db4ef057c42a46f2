"""A backup file as a database: written so that it is whole or not there, opened so that nothing in it is obeyed."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine, NullPool, Table, insert

from service.errors import InvalidInput
from service.registry.backup.errors import file_errors
from service.registry.backup.seal import APPLICATION_ID, seal
from service.registry.upgrade import upgrade
from service.registry.url import parse_url

# The file is synced once, as a whole, and thrown away where anything fails: a journal would only cost time.
WRITING = ("journal_mode=OFF", "synchronous=OFF", "foreign_keys=ON", f"application_id={APPLICATION_ID}")
READING = ("trusted_schema=OFF", "cell_size_check=ON")  # what SQLite advises for a file that anybody may have made


class BackupWriter:
    """Fills the tables of a new backup file. Raises what `file_errors` raises."""

    def __init__(self, path: Path, connection: Connection) -> None:
        self._path = path  # as the user named it
        self.connection = connection

    def insert(self, table: Table, rows: Sequence[dict[str, Any]]) -> None:
        """Add `rows`, each with every column of `table`."""
        if rows:
            # Here, not around the whole copy: an error of the registry must not be told as one of the file.
            with file_errors(self._path):
                self.connection.execute(insert(table), rows)


@contextmanager
def new_backup_file(path: Path, *, replace: bool) -> Iterator[BackupWriter]:
    """A registry without rows in a temporary file, mode 0600, that becomes `path` when the context ends well.

    Raises InvalidInput where `path` exists and `replace` is False, and what `file_errors` raises.
    """
    with file_errors(path):
        _refuse_existing(path, replace=replace)
        descriptor, name = tempfile.mkstemp(prefix=".adakron-backup-", suffix=".part", dir=path.parent)
        os.close(descriptor)
    part = Path(name)
    try:
        with file_errors(path):
            engine = open_file(part)
            upgrade(engine)
            connection = engine.connect()
        with closing(connection):
            yield BackupWriter(path, connection)
            with file_errors(path):
                connection.commit()
        with file_errors(path):
            seal(part)
            _sync(part)
            _refuse_existing(path, replace=replace)
            part.replace(path)
            _sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def open_file(path: Path, *, read_only: bool = False) -> Engine:
    """An engine for one SQLite file of any name (not every name can stand in a URL)."""

    def connect() -> sqlite3.Connection:
        # Immutable: nobody else writes it, so it may lie in a folder where no lock can be made.
        uri = path.absolute().as_uri() + ("?mode=ro&immutable=1" if read_only else "?mode=rw")
        connection = sqlite3.connect(uri, uri=True)
        for pragma in READING if read_only else WRITING:
            connection.execute(f"PRAGMA {pragma}").close()
        return connection

    return sqlalchemy.create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)


def registry_file(url: str) -> Path | None:
    """The file of a registry in SQLite; None where the registry is none, or the URL cannot be read."""
    try:
        parsed = parse_url(url)
    except InvalidInput:
        return None
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def refuse_registry_itself(path: Path, url: str) -> None:
    """Raise InvalidInput where a backup and the registry at `url` are one file."""
    registry = registry_file(url)
    with file_errors(path):
        if registry is not None and registry.exists() and path.exists() and path.samefile(registry):
            raise InvalidInput(f"{path} is the registry itself: name another file")


def _refuse_existing(path: Path, *, replace: bool) -> None:
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder: name a file in it")
    if not replace and os.path.lexists(path):
        raise InvalidInput(f"{path} exists already: name another file, or give --force to replace it")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
