"""Rows -> values: what a transaction sees, as a Snapshot or a TaskEntry. Parses each version once, reads no bytes."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, cast

from pydantic import ValidationError
from sqlalchemy import Connection, Row, select, tuple_

from adapters.adapter import AdapterMetadata
from service.core import LIVE, TASK_NAME, ApiKey, PublishedVersion, Scope
from service.errors import UnknownTask, UnknownVersion
from service.registry.history import read_past, rollback_target
from service.registry.models import Alias, Blob, Key, Revision, Task, Version, row_sha256
from service.registry.snapshot import NOTHING, Snapshot, TaskEntry

CHUNK = 400  # tasks or versions of one query; SQLite takes at most 999 parameters in old versions

Identity = tuple[str, int, str, datetime]  # task, version, digest, time: what else a row has cannot differ
Parsed = dict[Identity, PublishedVersion]

logger = logging.getLogger(__name__)


class Catalog:
    """Keeps the last snapshot: the next one takes from it every task and key that has not changed since."""

    def __init__(self) -> None:
        self._last = NOTHING  # replaced as a whole, so threads need no lock
        self._parsed: Parsed = {}  # by a snapshot that was given up for its time: the next one gets further

    def snapshot(self, connection: Connection) -> Snapshot:
        """Everything published, and every key."""
        revision = connection.execute(select(Revision.value)).scalar_one()
        last = self._last
        if revision == last.revision:
            return last
        since = last if revision > last.revision else NOTHING  # smaller: an older file was put back
        tasks, keys = since.tasks, since.keys
        changed = set(connection.execute(select(Task.name).where(Task.revision > since.revision)).scalars())
        if changed:
            entries = _read_entries(connection, sorted(changed), last.tasks, self._parsed)
            unchanged = {name: entry for name, entry in tasks.items() if name not in changed}
            # Sorted here, not by the database, which sorts by the rules of its own language.
            tasks = MappingProxyType(dict(sorted((unchanged | entries).items())))
        if changed_keys := _read_keys(connection, since.revision):
            keys = MappingProxyType(dict(keys) | {key.id: key for key in changed_keys})
        self._last, self._parsed = Snapshot(revision, tasks, keys), {}
        return self._last

    def require(self, connection: Connection, task: str) -> TaskEntry:
        """One task. Raises UnknownTask where it has no version."""
        if TASK_NAME.fullmatch(task):  # PostgreSQL takes no text that holds a NUL
            entries = _read_entries(connection, [task], self._last.tasks, {})
            if task in entries:
                return entries[task]
        raise UnknownTask(task)


def read_metadata(connection: Connection, task: str, version: int) -> AdapterMetadata:
    """What the adapter file of a version says of itself. Raises UnknownVersion."""
    query = select(Version.metadata_json).where(Version.task == task, Version.version == version)
    text = connection.execute(query).scalar_one_or_none()
    if text is None:
        raise UnknownVersion(f"task {task!r} has no version {version}")
    return AdapterMetadata.model_validate_json(text)


def published(
    task: str, version: int, digest: str, metadata: AdapterMetadata, num_bytes: int, created_at: datetime
) -> PublishedVersion:
    """The value of one row; `created_at` as the row has it, UTC without a zone."""
    return PublishedVersion(
        task=task,
        version=version,
        digest=digest,
        spec=metadata.task,
        metrics=MappingProxyType(dict(metadata.metrics)),
        num_parameters=metadata.num_parameters,
        num_bytes=num_bytes,
        created_at=created_at.replace(tzinfo=UTC),
    )


def read_key(connection: Connection, key_id: str) -> ApiKey | None:
    """The key of that id."""
    row = connection.execute(select(Key.__table__).where(Key.id == key_id)).first()
    return None if row is None else _api_key(row)


def _read_keys(connection: Connection, after: int) -> list[ApiKey]:
    """The keys created or revoked since revision `after`."""
    return [_api_key(row) for row in connection.execute(select(Key.__table__).where(Key.revision > after))]


def _api_key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        scopes=frozenset(cast("list[Scope]", row.scopes.split())),
        tasks=frozenset(row.tasks.split()),
        secret_sha256=row.secret_sha256,
        created_at=row.created_at.replace(tzinfo=UTC),
        revoked_at=row.revoked_at and row.revoked_at.replace(tzinfo=UTC),
    )


def _read_entries(
    connection: Connection, tasks: Sequence[str], known: Mapping[str, TaskEntry], parsed: Parsed
) -> dict[str, TaskEntry]:
    """The entries of those of `tasks` that have a version.

    Versions in `known` or `parsed` are not parsed again; the others are added to `parsed`.
    """
    entries: dict[str, TaskEntry] = {}
    for start in range(0, len(tasks), CHUNK):
        chunk = tasks[start : start + CHUNK]
        versions: dict[str, dict[int, PublishedVersion]] = {}
        for version in _read_versions(connection, chunk, known, parsed):
            versions.setdefault(version.task, {})[version.version] = version
        aliases: dict[str, dict[str, int]] = {task: {} for task in versions}
        query = select(Alias.task, Alias.name, Alias.version).where(Alias.task.in_(chunk))
        for task, alias, number in sorted((row.task, row.name, row.version) for row in connection.execute(query)):
            if task in aliases:  # else this release can read no version of it
                aliases[task][alias] = number
        past = read_past(connection, chunk)
        weights = dict(connection.execute(select(Task.name, Task.weight).where(Task.name.in_(chunk))).all())
        entries |= {
            task: TaskEntry(
                task,
                MappingProxyType(numbers),
                MappingProxyType(aliases[task]),
                weights[task],
                rollback_target(past.get(task, []), numbers, aliases[task].get(LIVE)),
            )
            for task, numbers in versions.items()
        }
    return entries


def _read_versions(
    connection: Connection, tasks: Sequence[str], known: Mapping[str, TaskEntry], parsed: Parsed
) -> Iterator[PublishedVersion]:
    """All versions of `tasks`, ascending within each."""
    before = (version for task in tasks if task in known for version in known[task].versions.values())
    found = {_identity(version): version for version in before}
    query = (
        select(Version.task, Version.version, Version.digest, Version.created_at, Blob.quarantined_at)
        .outerjoin(Blob, Blob.digest == Version.digest)
        .where(Version.task.in_(tasks))
    )
    rows = {
        (task, number, digest, created_at.replace(tzinfo=UTC)): quarantined_at is not None
        for task, number, digest, created_at, quarantined_at in connection.execute(query.order_by(Version.version))
    }
    missing = [key[:2] for key in rows if key not in found and key not in parsed]
    for start in range(0, len(missing), CHUNK):
        details = tuple_(Version.task, Version.version).in_(missing[start : start + CHUNK])
        for row in connection.execute(select(Version.__table__).where(details)):
            if version := _parse(row):
                parsed[_identity(version)] = version
    return (
        version if version.quarantined == quarantined else replace(version, quarantined=quarantined)
        for key, quarantined in rows.items()
        if (version := found.get(key) or parsed.get(key)) is not None
    )


def _identity(version: PublishedVersion) -> Identity:
    return version.task, version.version, version.digest, version.created_at


def _parse(row: Row[Any]) -> PublishedVersion | None:
    """The value of one row; None, and a line in the log, where this release cannot use it."""
    columns = row._asdict()
    if columns.pop("row_sha256") != row_sha256(**columns):
        logger.error(
            "version %s of task %s is left out: its row is damaged; publish its file again", row.version, row.task
        )
        return None
    try:
        metadata = AdapterMetadata.model_validate_json(row.metadata_json)
    except ValidationError:
        # A newer release may write what this one cannot read; the other versions must not suffer for it.
        logger.warning("version %d of task %s is left out: this release cannot read it", row.version, row.task)
        return None
    return published(row.task, row.version, row.digest, metadata, row.num_bytes, row.created_at)
