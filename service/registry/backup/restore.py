"""Restore a backup into a registry that is in use; running servers follow it.

What is published becomes what was published at the backup. Some things never go back: the revision rises, version
numbers are not reused, revoked keys stay revoked, and the audit log only grows.

Adapter bytes, nearly all of a registry, are stored before and deleted after the one transaction that changes what is
published, in short transactions of their own that block no other writer for long.
"""

import contextlib
import hashlib
import socket
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import Connection, Engine, Table, delete, insert, inspect, select, update

from service.errors import ServiceError
from service.registry.backup.audit import merge_audit
from service.registry.backup.file import (
    TRANSACTION_TIMEOUT_S,
    file_errors,
    refuse_registry_itself,
    registry_file,
    unreadable_rows,
)
from service.registry.backup.verify import VerifiedBackup
from service.registry.database import create_engine, exclusive, is_sqlite, reading
from service.registry.models import Alias, AliasHistory, Audit, Blob, Key, Revision, Task, Version
from service.registry.postgres import notify
from service.registry.schema import upgrade
from service.registry.sqlite import require_room

BATCH = 4  # adapters of one transaction
CHUNK = 500  # rows, or names of tasks, of one statement
TABLES = tuple(cast(Table, table.__table__) for table in (Version, Alias, AliasHistory))
KEYS = cast(Table, Key.__table__)

Published = frozenset[tuple[str, int, str]]  # task, version, digest
Row = tuple[Any, ...]  # without the id that the database assigns
Tasks = Mapping[str, tuple[list[Row], ...]]  # all rows of each task, by its name, in the order of TABLES


@dataclass(frozen=True)
class RestoreSummary:
    """The result of a restore."""

    revision: int  # of the registry, after it
    published: Published
    quarantined: tuple[str, ...]  # task@version, sorted: versions whose bytes are intact in neither place


def published_at(url: str) -> Published:
    """Read what is published in the registry at `url`; empty if it does not exist. Changes nothing."""
    if (path := registry_file(url)) is not None:
        with file_errors(path):
            if not path.exists():  # create_engine would create it
                return frozenset()
    engine = create_engine(url)
    try:
        with reading(engine, TRANSACTION_TIMEOUT_S) as connection:
            return published_in(connection) if inspect(connection).has_table(Version.__tablename__) else frozenset()
    finally:
        engine.dispose()


def published_in(connection: Connection) -> Published:
    """Read what is published in a database that has the tables."""
    rows = connection.execute(select(Version.task, Version.version, Version.digest))
    return frozenset((task, version, digest) for task, version, digest in rows)


def restore_backup(url: str, backup: VerifiedBackup, *, actor: str = "local", grace_s: float) -> RestoreSummary:
    """Publish at `url` exactly what is published in `backup`; create the registry if it does not exist.

    One transaction changes everything but the audit log, which is merged before. Adapters that are no longer
    published stay for `grace_s`, for servers that have not followed yet. Raises InvalidInput for the URL,
    RegistryUnavailable, StorageFull, and then leaves what is published unchanged.
    """
    refuse_registry_itself(backup.path, url)
    engine = create_engine(url)
    try:
        upgrade(engine)
        try:
            stored = _store_ahead(engine, backup)
            tasks = _read_tasks(backup.connection)
            with unreadable_rows():
                merge_audit(engine, backup.connection)
                with exclusive(engine, TRANSACTION_TIMEOUT_S) as (connection, revision):
                    revision = max(revision, backup.revision) + 1
                    return _replace(connection, backup, tasks, stored, revision, actor)
        finally:
            # If this fails, unused adapters stay; they do no harm, and the next restore deletes them.
            with contextlib.suppress(ServiceError):
                _delete_unused(engine, grace_s)
    finally:
        engine.dispose()


def _replace(
    connection: Connection, backup: VerifiedBackup, tasks: Tasks, stored: set[str], revision: int, actor: str
) -> RestoreSummary:
    before, after = published_in(connection), published_in(backup.connection)
    present = set(connection.scalars(select(Blob.digest)))
    _store(connection, backup, (backup.intact | backup.damaged) - present)  # deleted since _store_ahead
    changed = _merge_task_rows(connection, backup.connection)
    changed |= _replace_tasks(connection, _read_tasks(connection), tasks)
    _set_revision(connection, changed | {task for task, _, digest in after if digest in stored}, revision)
    _merge_keys(connection, backup.connection, revision)
    detail = (
        f"backup {backup.digest}, of revision {backup.revision}, last change {backup.last_change}: "
        f"{len(before)} versions replaced by {len(after)}"
    )
    now, host = datetime.now(UTC).replace(tzinfo=None), socket.gethostname()
    connection.execute(insert(Audit).values(at=now, actor=actor, action="restore", detail=detail, source=host))
    connection.execute(update(Revision).values(value=revision))
    if not is_sqlite(connection.engine):
        notify(connection)
    query = select(Version.task, Version.version).join(Blob).where(Blob.quarantined_at.is_not(None))
    names = tuple(f"{task}@{version}" for task, version in sorted(connection.execute(query)))
    return RestoreSummary(revision, after, names)


def _store_ahead(engine: Engine, backup: VerifiedBackup) -> set[str]:
    """Store the adapters of `backup` that the registry lacks or has damaged; return their digests."""
    needed = []
    for digest in sorted(backup.intact | backup.damaged):
        with reading(engine, TRANSACTION_TIMEOUT_S) as connection:
            row = connection.execute(select(Blob.data, Blob.quarantined_at).where(Blob.digest == digest)).first()
        if row is None or row.quarantined_at is not None or not _hashes_to(row.data, digest):
            needed.append(digest)
    for batch in _chunks(needed, BATCH):
        with exclusive(engine, TRANSACTION_TIMEOUT_S, pause=True) as (connection, _):
            _store(connection, backup, batch)
    return set(needed)


def _store(connection: Connection, backup: VerifiedBackup, digests: Iterable[str]) -> None:
    """Store each of `digests`: the registry's own bytes if they are intact, otherwise those of `backup`.

    If both are damaged the blob is put into quarantine. Raises StorageFull.
    """
    for digest in digests:
        own = connection.execute(select(Blob.data).where(Blob.digest == digest)).scalar()
        keep = own is not None and _hashes_to(own, digest)
        other = backup.connection.execute(select(Blob.data).where(Blob.digest == digest)).scalar_one()
        if is_sqlite(connection.engine) and not keep:
            require_room(connection, len(other))
        intact = keep or digest in backup.intact
        quarantined_at = None if intact else datetime.now(UTC).replace(tzinfo=None)
        values = {"data": own if keep else other, "quarantined_at": quarantined_at}
        if own is None:
            connection.execute(insert(Blob).values(digest=digest, **values))
        else:
            connection.execute(update(Blob).where(Blob.digest == digest).values(**values))


def _delete_unused(engine: Engine, grace_s: float) -> None:
    """Delete the bytes without a version, after `grace_s`: a server may still load adapters of the state before."""
    unused = ~select(Version.digest).where(Version.digest == Blob.digest).exists()
    with reading(engine, TRANSACTION_TIMEOUT_S) as connection:
        digests = connection.scalars(select(Blob.digest).where(unused)).all()
    if digests:
        time.sleep(grace_s)
    for batch in _chunks(list(digests), BATCH):
        with exclusive(engine, TRANSACTION_TIMEOUT_S, pause=True) as (connection, _):
            connection.execute(delete(Blob).where(Blob.digest.in_(batch), unused))


def _read_tasks(connection: Connection) -> Tasks:
    """Read all rows of every task that has a version."""
    tasks: dict[str, tuple[list[Row], ...]] = {}
    for index, table in enumerate(TABLES):
        for row in connection.execute(select(*_columns(table)).order_by(*table.primary_key)):
            tasks.setdefault(row.task, tuple([] for _ in TABLES))[index].append(tuple(row))
    for _, aliases, _ in tasks.values():
        aliases.sort()  # each database sorts names by its own collation
    return tasks


def _replace_tasks(connection: Connection, old: Tasks, new: Tasks) -> set[str]:
    """Replace the rows of `old`, the present tasks, by those of `new`; return the names of the changed tasks."""
    differ = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    for names in _chunks(sorted(differ)):
        for table in reversed(TABLES):
            connection.execute(delete(table).where(table.c.task.in_(names)))
    for index, table in enumerate(TABLES):
        keys = [column.name for column in _columns(table)]
        rows = [row for name in sorted(differ & new.keys()) for row in new[name][index]]
        for chunk in _chunks(rows):
            connection.execute(insert(table), [dict(zip(keys, row, strict=True)) for row in chunk])
    return differ


def _merge_task_rows(connection: Connection, backup: Connection) -> set[str]:
    """Give every task of the backup a row, its weight, and the larger of the two next version numbers.

    Returns the names of the tasks whose weight changed.
    """
    query, reweighted = select(Task.name, Task.next_version, Task.weight), set[str]()
    here = {name: (number, weight) for name, number, weight in connection.execute(query)}
    for name, number, weight in backup.execute(query):
        if name not in here:
            connection.execute(insert(Task).values(name=name, next_version=number, weight=weight, revision=0))
        elif number > here[name][0] or weight != here[name][1]:
            values = {"next_version": max(number, here[name][0]), "weight": weight}
            connection.execute(update(Task).where(Task.name == name).values(values))
            reweighted |= {name} if weight != here[name][1] else set()
    return reweighted


def _set_revision(connection: Connection, tasks: Collection[str], revision: int) -> None:
    """Give `tasks` a new revision, so that servers read them again."""
    for names in _chunks(sorted(tasks)):
        connection.execute(update(Task).where(Task.name.in_(names)).values(revision=revision))


def _merge_keys(connection: Connection, backup: Connection, revision: int) -> None:
    """Add the keys that the registry lacks. A key that is revoked in either place stays revoked."""
    here = {row.id: row.revoked_at for row in connection.execute(select(KEYS))}
    for row in backup.execute(select(KEYS)).mappings():
        if row["id"] not in here:
            connection.execute(insert(KEYS).values(dict(row) | {"revision": revision}))
        elif row["revoked_at"] is not None and here[row["id"]] is None:
            values = {"revoked_at": row["revoked_at"], "revision": revision}
            connection.execute(update(KEYS).where(KEYS.c.id == row["id"]).values(values))


def _hashes_to(data: bytes, digest: str) -> bool:
    return hashlib.sha256(data).hexdigest() == digest


def _columns(table: Table) -> list[Any]:
    return [column for column in table.columns if column.name != "id"]


def _chunks(items: list[Any], size: int = CHUNK) -> Iterator[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
