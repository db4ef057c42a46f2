"""Verify a backup file completely before anything is restored from it."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy import Connection, Row, Table, func, inspect, select

from adapters import checkpoint
from adapters.errors import CheckpointError
from service.core import MAX_WEIGHT, MIN_WEIGHT, TASK_NAME
from service.errors import InvalidInput
from service.registry.backup.file import file_errors, has_wrong_checksum, open_file
from service.registry.models import Alias, Audit, Base, Blob, Revision, Task, Version, row_sha256
from service.registry.schema import Schema, compare_schema, read_revisions, upgrade

MAGIC = b"SQLite format 3\0"
MAX_INTEGER = 2**31 - 1  # of a column of PostgreSQL


@dataclass(frozen=True, eq=False)
class VerifiedBackup:
    """A backup that passed every check, open for reading."""

    path: Path
    connection: Connection  # to the file, or to a copy with the newest schema
    digest: str  # SHA-256 of the file
    num_bytes: int  # of the file
    revision: int
    last_change: datetime | None  # UTC without a zone; None if nothing was ever changed
    intact: frozenset[str]  # digests of adapters
    damaged: frozenset[str]  # digests of adapters that were damaged in the registry, and marked as such


@contextmanager
def verified_backup(path: Path) -> Iterator[VerifiedBackup]:
    """Verify and open the backup at `path`. Raises InvalidInput with the first fault found."""
    with ExitStack() as stack:
        with file_errors(path):
            try:
                digest, num_bytes = _hash_file(path)
                connection = stack.enter_context(_opened(path))
                _check_rows(connection)
                intact, damaged = _check_adapters(connection)
            except (ValueError, TypeError) as error:  # SQLAlchemy's, for example for an invalid time
                _refuse(str(error))
            backup = VerifiedBackup(
                path=path,
                connection=connection,
                digest=digest,
                num_bytes=num_bytes,
                revision=connection.execute(select(Revision.value)).scalar_one(),
                last_change=connection.execute(select(func.max(Audit.at))).scalar_one(),
                intact=intact,
                damaged=damaged,
            )
        yield backup


def version_checksum(row: Mapping[str, Any]) -> str:
    """Compute the correct `row_sha256` of a row of `versions`."""
    return row_sha256(**{name: value for name, value in row.items() if name != "row_sha256"})


def _refuse(why: str) -> NoReturn:
    raise InvalidInput(f"the backup is refused: {why}")


def _hash_file(path: Path) -> tuple[str, int]:
    if path.exists() and not path.is_file():
        _refuse(f"{path} is not a file")
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            _refuse(f"{path} is not an SQLite file")
        if has_wrong_checksum(path):
            _refuse("its checksum is wrong: it was damaged or changed after it was written")
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()


@contextmanager
def _opened(path: Path) -> Iterator[Connection]:
    """Connect to `path`, or to a migrated copy if its schema is older."""
    for suffix in ("-journal", "-wal"):
        if path.with_name(path.name + suffix).exists():
            _refuse(f"{path}{suffix} exists, so this is a database in use: copy it with adakron backup")
    with open_file(path, read_only=True).connect() as connection:
        _check_structure(connection)
        schema = compare_schema(read_revisions(connection))
        if schema is Schema.NONE:
            _refuse(f"{path} is not a registry")
        if schema is Schema.NEWER:
            _refuse("it was written by a newer release")
        if schema is Schema.CURRENT:
            _check_tables(connection)
            yield connection
            return
    with tempfile.TemporaryDirectory(prefix="adakron-restore-") as folder:
        copy = Path(folder) / "copy.sqlite3"
        shutil.copyfile(path, copy)
        upgrade(open_file(copy))
        with open_file(copy, read_only=True).connect() as connection:
            _check_tables(connection)
            yield connection


def _check_structure(connection: Connection) -> None:
    for found in connection.exec_driver_sql("PRAGMA integrity_check(1)").scalars():
        if found != "ok":
            _refuse(f"the file is damaged: {found}")
    active = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type NOT IN ('table', 'index')")
    if names := active.scalars().all():
        _refuse(f"it has the trigger or view {names[0]}, and a registry has none")


def _check_tables(connection: Connection) -> None:
    inspector = inspect(connection)
    expected = {table.name: {column.name for column in table.columns} for table in Base.metadata.sorted_tables}
    found = {
        name: {column["name"] for column in inspector.get_columns(name)}
        for name in inspector.get_table_names()
        if name != "alembic_version"
    }
    if found != expected:
        _refuse("its tables are not those of a registry")
    if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first():
        _refuse(f"a row of {broken[0]} refers to a missing row of {broken[2]}")


def _check_rows(connection: Connection) -> None:
    """Check the types of all values, the names, the weights, and that no version number could be reused."""
    for table in Base.metadata.sorted_tables:
        for row in connection.execute(select(*(column for column in table.columns if column.name != "data"))):
            _check_types(table, row)
    if connection.execute(select(func.count()).select_from(Revision)).scalar_one() != 1:
        _refuse("it has no revision")
    for name in [*connection.scalars(select(Task.name)), *connection.scalars(select(Alias.name))]:
        if not TASK_NAME.fullmatch(name):
            _refuse(f"{name!r} is not a valid name")
    taken = select(Version.task).join(Task).where((Version.version < 1) | (Version.version >= Task.next_version))
    if task := connection.scalars(taken).first():
        _refuse(f"task {task} would reuse a version number")
    if task := connection.scalars(select(Task.name).where(~Task.weight.between(MIN_WEIGHT, MAX_WEIGHT))).first():
        _refuse(f"task {task} has a weight outside {MIN_WEIGHT:g} to {MAX_WEIGHT:g}")


def _check_types(table: Table, row: Row[Any]) -> None:
    for name, value in row._mapping.items():
        column = table.columns[name]
        if value is None and column.nullable:
            continue
        length = getattr(column.type, "length", None)
        if (
            not isinstance(value, column.type.python_type)
            or (isinstance(value, str) and length is not None and len(value) > length)
            or (isinstance(value, int) and not 0 <= value <= MAX_INTEGER)
        ):
            _refuse(f"{table.name}.{name} holds {str(value)[:40]!r}")


def _check_adapters(connection: Connection) -> tuple[frozenset[str], frozenset[str]]:
    """Hash every adapter; return the digests of the intact ones and of those marked as damaged."""
    intact, damaged = set[str](), set[str]()
    for digest in connection.scalars(select(Version.digest).distinct().order_by(Version.digest)):
        blob = connection.execute(select(Blob.data, Blob.quarantined_at).where(Blob.digest == digest)).one()
        if hashlib.sha256(blob.data).hexdigest() == digest:
            intact.add(digest)
            _check_versions(connection, digest, blob.data)
        elif blob.quarantined_at is not None:
            damaged.add(digest)
        else:
            _refuse(f"the bytes of adapter {digest[:12]} are damaged")
    return frozenset(intact), frozenset(damaged)


def _check_versions(connection: Connection, digest: str, data: bytes) -> None:
    """Compare the rows of the versions with the adapter file `data`."""
    try:
        metadata_json = checkpoint.canonical_json(checkpoint.parse(data).metadata)
    except CheckpointError as error:
        _refuse(f"adapter {digest[:12]} cannot be read ({error.reason}): {error}")
    for row in connection.execute(select(Version.__table__).where(Version.digest == digest)).mappings():
        described = (row["metadata_json"], row["num_bytes"], row["row_sha256"])
        if described != (metadata_json, len(data), version_checksum(dict(row))):
            _refuse(f"its row of {row['task']}@{row['version']} is damaged")
