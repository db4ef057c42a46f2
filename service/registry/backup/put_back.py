"""Restore a backup into a registry that is in use: the servers on it follow by themselves.

What is published becomes what was published when the backup was taken. What must never go back does not: the revision
rises, version numbers are not given again, keys stay revoked, and the audit log only grows.
"""

import contextlib
import socket
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, inspect, select, update

from service.errors import ServiceError
from service.registry.backup.audit import merge_audit
from service.registry.backup.blobs import bring_in, store, take_away
from service.registry.backup.check import CheckedBackup
from service.registry.backup.errors import file_errors, unreadable_rows
from service.registry.backup.file import refuse_registry_itself, registry_file
from service.registry.backup.rows import Tasks, merge_keys, merge_rows, read_tasks, replace_tasks, touch
from service.registry.backup.transactions import alone, looking
from service.registry.database import create_engine, is_sqlite
from service.registry.models import Audit, Blob, Revision, Version
from service.registry.postgres import notify
from service.registry.upgrade import upgrade

Published = frozenset[tuple[str, int, str]]  # task, version, digest


@dataclass(frozen=True)
class RestoreSummary:
    """What a restore has done."""

    revision: int  # of the registry since then
    published: Published
    quarantined: tuple[str, ...]  # task@version, sorted: neither backup nor registry had their bytes intact


def published_at(url: str) -> Published:
    """What is published in the registry at `url`; nothing where there is no registry yet. Changes nothing."""
    if (path := registry_file(url)) is not None:
        with file_errors(path):
            if not path.exists():  # it would be made
                return frozenset()
    engine = create_engine(url)
    try:
        with looking(engine) as connection:
            return published_in(connection) if inspect(connection).has_table(Version.__tablename__) else frozenset()
    finally:
        engine.dispose()


def published_in(connection: Connection) -> Published:
    """What is published in a database that has the tables."""
    rows = connection.execute(select(Version.task, Version.version, Version.digest))
    return frozenset((task, version, digest) for task, version, digest in rows)


def restore(url: str, backup: CheckedBackup, *, actor: str = "local", grace_s: float) -> RestoreSummary:
    """Make what is published at `url` what it is in `backup`; a registry that is not there yet is made.

    All of it changes in one transaction; the log of the backup is merged before. For `grace_s` afterwards the
    adapters from before stay, for servers that have not seen it yet. Raises InvalidInput for the URL,
    RegistryUnavailable, StorageFull; what is published is not changed then.
    """
    refuse_registry_itself(backup.path, url)
    engine = create_engine(url)
    try:
        upgrade(engine)
        try:
            mended = bring_in(engine, backup)
            tasks = read_tasks(backup.connection)
            with unreadable_rows():
                merge_audit(engine, backup.connection)
                with alone(engine) as (connection, revision):
                    revision = max(revision, backup.revision) + 1
                    return _replace(connection, backup, tasks, mended, revision, actor)
        finally:
            # What is left behind where this fails does no harm, and the next restore takes it.
            with contextlib.suppress(ServiceError):
                take_away(engine, grace_s)
    finally:
        engine.dispose()


def _replace(
    connection: Connection, backup: CheckedBackup, tasks: Tasks, mended: set[str], revision: int, actor: str
) -> RestoreSummary:
    before, after = published_in(connection), published_in(backup.connection)
    present = set(connection.scalars(select(Blob.digest)))
    store(connection, backup, (backup.intact | backup.damaged) - present)  # deleted since they were brought in
    changed = merge_rows(connection, backup.connection)
    changed |= replace_tasks(connection, read_tasks(connection), tasks)
    touch(connection, changed | {task for task, _, digest in after if digest in mended}, revision)
    merge_keys(connection, backup.connection, revision)
    detail = (
        f"backup {backup.digest}, of revision {backup.revision}, last change {backup.last_change}: "
        f"{len(after)} versions in place of {len(before)}"
    )
    now, host = datetime.now(UTC).replace(tzinfo=None), socket.gethostname()
    connection.execute(insert(Audit).values(at=now, actor=actor, action="restore", detail=detail, source=host))
    connection.execute(update(Revision).values(value=revision))
    if not is_sqlite(connection.engine):
        notify(connection)
    query = select(Version.task, Version.version).join(Blob).where(Blob.quarantined_at.is_not(None))
    names = tuple(f"{task}@{version}" for task, version in sorted(connection.execute(query)))
    return RestoreSummary(revision, after, names)
