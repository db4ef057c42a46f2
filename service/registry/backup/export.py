"""Export a registry that is in use into one SQLite file, whatever database the registry is in.

Adapters and the audit log, nearly all of the bytes, never change, so they are copied ahead in short transactions. One
last transaction reads the rest and whatever was added meanwhile: the backup is the registry as of that moment.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, Engine, Table, delete, func, select, update

from adapters import checkpoint
from service.errors import InvalidInput
from service.registry.backup.audit import AUDIT, audit_after, copy_audit_ahead
from service.registry.backup.file import (
    TRANSACTION_TIMEOUT_S,
    BackupWriter,
    file_errors,
    new_backup_file,
    refuse_registry_itself,
    registry_file,
    unreadable_rows,
)
from service.registry.backup.verify import version_checksum
from service.registry.database import create_engine, reading
from service.registry.models import Base, Blob, Revision, Version
from service.registry.schema import Schema, compare_schema, read_revisions

BLOBS, VERSIONS = cast(Table, Blob.__table__), cast(Table, Version.__table__)
OTHERS = [table for table in Base.metadata.sorted_tables if table not in (BLOBS, AUDIT)]


@dataclass(frozen=True)
class BackupSummary:
    """The content of a new backup."""

    num_tasks: int
    num_versions: int
    num_bytes: int  # of the file
    damaged: tuple[str, ...]  # task@version, sorted: versions whose bytes or row do not match their checksum


def export_registry(url: str, path: Path, *, replace: bool = False) -> BackupSummary:
    """Write the registry at `url` to the new file `path`, or over an existing one with `replace`.

    Damaged bytes are copied as they are and marked as quarantined; damaged rows are repaired if the bytes are intact.
    Raises InvalidInput for the URL or the path, StorageFull, RegistryUnavailable, and then leaves `path` as it was.
    """
    if (source := registry_file(url)) is not None:
        with file_errors(source):
            if not source.is_file():  # create_engine would create it
                raise InvalidInput(f"there is no registry at {source}")
    refuse_registry_itself(path, url)
    engine = create_engine(url)
    try:
        _check_schema(engine)
        with new_backup_file(path, replace=replace) as file, unreadable_rows():
            damaged = _copy(engine, file)
            counts = select(func.count(Version.task.distinct()), func.count())
            num_tasks, num_versions = file.connection.execute(counts).one()
    finally:
        engine.dispose()
    names = tuple(f"{task}@{version}" for task, version in sorted(damaged))
    return BackupSummary(num_tasks, num_versions, path.stat().st_size, names)


def _check_schema(engine: Engine) -> None:
    with reading(engine, TRANSACTION_TIMEOUT_S) as connection:
        schema = compare_schema(read_revisions(connection))
    if schema is Schema.NONE:
        raise InvalidInput("there is no registry in this database")
    if schema is not Schema.CURRENT:
        raise InvalidInput(
            f"the registry's tables are {schema.value} than this release: back it up with the release that wrote it"
        )


def _copy(engine: Engine, file: BackupWriter) -> set[tuple[str, int]]:
    """Copy everything; return the task and number of each damaged version."""
    copied = _copy_blobs_ahead(engine, file)
    last = copy_audit_ahead(engine, file)
    with reading(engine, TRANSACTION_TIMEOUT_S) as connection:  # blocks SQLite's writers: compute nothing in here
        for digest in sorted(_published_digests(connection) - copied):
            file.insert(BLOBS, [_read_blob(connection, digest)])
        found = {table: connection.execute(select(table)).mappings().all() for table in OTHERS}
        late = audit_after(connection, last)
    file.insert(AUDIT, [dict(row._mapping) for row in late])
    file.connection.execute(delete(Revision))  # that of the migrations
    versions = [dict(row) for row in found[VERSIONS]]
    broken = {(row["task"], row["version"]) for row in versions if version_checksum(row) != row["row_sha256"]}
    for table, rows in found.items():
        file.insert(table, [dict(row) for row in rows])
    for task, version in broken:
        _repair_row(file.connection, task, version)
    file.connection.execute(delete(Blob).where(Blob.digest.not_in(select(Version.digest))))
    damaged = select(Version.task, Version.version).join(Blob).where(Blob.quarantined_at.is_not(None))
    return broken | {(task, version) for task, version in file.connection.execute(damaged)}


def _copy_blobs_ahead(engine: Engine, file: BackupWriter) -> set[str]:
    """Copy the bytes of all versions, also of those published meanwhile; return the digests of the intact ones."""
    copied, seen = set[str](), set[str]()
    while new := _read_digests(engine) - seen:
        for digest in sorted(new):
            with reading(engine, TRANSACTION_TIMEOUT_S) as connection:
                row = _read_blob(connection, digest)
            if row["quarantined_at"] is None:
                file.insert(BLOBS, [row])
                copied.add(digest)
        seen |= new
    return copied


def _read_digests(engine: Engine) -> set[str]:
    with reading(engine, TRANSACTION_TIMEOUT_S) as connection:
        return _published_digests(connection)


def _published_digests(connection: Connection) -> set[str]:
    return set(connection.scalars(select(Version.digest).distinct()))


def _read_blob(connection: Connection, digest: str) -> dict[str, Any]:
    """Read the row of `digest`; its bytes, hashed again, decide whether it is in quarantine."""
    found = connection.execute(select(BLOBS).where(Blob.digest == digest)).mappings().first()
    row: dict[str, Any] = dict(found) if found else {"digest": digest, "quarantined_at": None, "data": b""}
    if hashlib.sha256(row["data"]).hexdigest() == digest:
        return row | {"quarantined_at": None}
    return row | {"quarantined_at": row["quarantined_at"] or datetime.now(UTC).replace(tzinfo=None)}


def _repair_row(file: Connection, task: str, version: int) -> None:
    """Rewrite a damaged row of `versions` from its adapter file, unless that is damaged too."""
    place = (Version.task == task, Version.version == version)
    row = file.execute(select(VERSIONS).where(*place)).mappings().one()
    data = file.scalars(select(Blob.data).where(Blob.digest == row["digest"], Blob.quarantined_at.is_(None))).first()
    if data is not None:
        metadata_json = checkpoint.canonical_json(checkpoint.parse(data).metadata)
        values = {"num_bytes": len(data), "metadata_json": metadata_json}
        values["row_sha256"] = version_checksum({**row, **values})
        file.execute(update(Version).where(*place).values(values))
