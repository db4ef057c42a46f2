"""Backup files: written atomically with a checksum, opened without trusting their content; the errors of both.

The checksum stands in two fields of the header that SQLite leaves to programs. It covers the whole file: adapters and
versions have checksums of their own, but keys, aliases and the audit log have none.
"""

import errno
import os
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine, NullPool, Table, insert
from sqlalchemy.exc import DBAPIError

from service.errors import InvalidInput, RegistryUnavailable, StorageFull
from service.registry.database import parse_url
from service.registry.schema import upgrade

TRANSACTION_TIMEOUT_S = 300.0  # of each transaction of a backup or a restore; no request waits for it
APPLICATION_ID = 0x414B524E  # "AKRN": the file has a checksum
# The file is synced once, as a whole, and deleted if anything fails: a journal would only cost time.
WRITING = ("journal_mode=OFF", "synchronous=OFF", "foreign_keys=ON", f"application_id={APPLICATION_ID}")
READING = ("trusted_schema=OFF", "cell_size_check=ON")  # SQLite's advice for files of unknown origin
_APPLICATION_ID_AT = slice(68, 72)
_CHECKSUM_AT = slice(60, 64)  # SQLite's user_version
_HEADER_BYTES = 100
_CHUNK_BYTES = 1024 * 1024


class BackupWriter:
    """Fills the tables of a new backup file. Raises what `file_errors` raises."""

    def __init__(self, path: Path, connection: Connection) -> None:
        self._path = path  # as the user named it
        self.connection = connection

    def insert(self, table: Table, rows: Sequence[dict[str, Any]]) -> None:
        """Add `rows`, each with every column of `table`."""
        if rows:
            # Here, not around the whole export: an error of the registry must not be reported as one of the file.
            with file_errors(self._path):
                self.connection.execute(insert(table), rows)


@contextmanager
def new_backup_file(path: Path, *, replace: bool) -> Iterator[BackupWriter]:
    """Create an empty registry in a temporary file, mode 0600; rename it to `path` if the body does not raise.

    Raises InvalidInput if `path` exists and `replace` is False, and what `file_errors` raises.
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
            write_checksum(part)
            _sync(part)
            _refuse_existing(path, replace=replace)
            part.replace(path)
            _sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def open_file(path: Path, *, read_only: bool = False) -> Engine:
    """Create an engine for one SQLite file of any name (some names cannot stand in a URL)."""

    def connect() -> sqlite3.Connection:
        # Immutable: no other program writes the file, so it may lie in a folder that allows no lock file.
        uri = path.absolute().as_uri() + ("?mode=ro&immutable=1" if read_only else "?mode=rw")
        connection = sqlite3.connect(uri, uri=True)
        for pragma in READING if read_only else WRITING:
            connection.execute(f"PRAGMA {pragma}").close()
        return connection

    return sqlalchemy.create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)


def registry_file(url: str) -> Path | None:
    """Return the file of a SQLite registry; None for PostgreSQL or an unreadable URL."""
    try:
        parsed = parse_url(url)
    except InvalidInput:
        return None
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def refuse_registry_itself(path: Path, url: str) -> None:
    """Raise InvalidInput if `path` is the file of the registry at `url`."""
    registry = registry_file(url)
    with file_errors(path):
        if registry is not None and registry.exists() and path.exists() and path.samefile(registry):
            raise InvalidInput(f"{path} is the registry itself: name another file")


def write_checksum(path: Path) -> None:
    """Write the checksum into a complete file that has the application id. Raises OSError."""
    value = _compute_checksum(path)
    with path.open("r+b") as file:
        file.seek(_CHECKSUM_AT.start)
        file.write(value)


def has_wrong_checksum(path: Path) -> bool:
    """Tell whether the file differs from what was written; False if it has no checksum. Raises OSError."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    application_id = int.from_bytes(header[_APPLICATION_ID_AT])
    # It is 0 in a registry: any third value is damage.
    return application_id != 0 and (application_id != APPLICATION_ID or header[_CHECKSUM_AT] != _compute_checksum(path))


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Translate each failure of the backup file at `path` into InvalidInput or StorageFull."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"no space is left for {path}") from error
        raise InvalidInput(f"{path} cannot be used: {error.strerror}") from error
    except DBAPIError as error:
        if getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise StorageFull(f"no space is left for {path}") from error
        raise InvalidInput(f"{path} cannot be used: {error.orig}") from error
    except StorageFull as error:
        raise StorageFull(f"no space is left for {path}") from error
    except RegistryUnavailable as error:  # raised by `upgrade`, which treats the file as a registry
        raise InvalidInput(f"{path} cannot be used: {getattr(error.__cause__, 'orig', error)}") from error


@contextmanager
def unreadable_rows() -> Iterator[None]:
    """Translate SQLAlchemy's error for an unreadable value, such as an invalid time, into RegistryUnavailable."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise RegistryUnavailable(f"the registry is damaged, a value cannot be read: {error}") from error


def _compute_checksum(path: Path) -> bytes:
    """CRC-32 of the file with zeros in the place of the checksum."""
    with path.open("rb") as file:
        header = bytearray(file.read(_HEADER_BYTES))
        header[_CHECKSUM_AT] = bytes(4)
        value = zlib.crc32(header)
        while chunk := file.read(_CHUNK_BYTES):
            value = zlib.crc32(chunk, value)
    return value.to_bytes(4)


def _refuse_existing(path: Path, *, replace: bool) -> None:
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder: name a file in it")
    if not replace and os.path.lexists(path):
        raise InvalidInput(f"{path} exists: name another file, or replace it with --force")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
