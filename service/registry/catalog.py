"""Catalog: builds Snapshots and TaskEntries from rows. It parses each version once and reads no adapter bytes."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Row, func, select, tuple_

from adapters.adapter import AdapterMetadata
from service.core import LIVE, TASK_NAME, PublishedVersion
from service.errors import UnknownTask
from service.registry.models import Alias, AliasHistory, Blob, Revision, Task, Version, row_sha256
from service.registry.queries import read_keys
from service.registry.snapshot import EMPTY, Snapshot, TaskEntry

CHUNK = 400  # tasks or versions of one query; old releases of SQLite take at most 999 parameters

Identity = tuple[str, int, str, datetime]  # task, version, digest, time: two equal ones have equal rows
Parsed = dict[Identity, PublishedVersion]

logger = logging.getLogger(__name__)


class Catalog:
    """Keeps the last snapshot; the next one reuses every task and key that has not changed since."""

    def __init__(self) -> None:
        self._last = EMPTY  # replaced as a whole, so threads need no lock
        self._parsed: Parsed = {}  # kept when a snapshot runs out of time, so that the next attempt gets further

    def snapshot(self, connection: Connection) -> Snapshot:
        """Read all published versions and all keys."""
        revision = connection.execute(select(Revision.value)).scalar_one()
        last = self._last
        if revision == last.revision:
            return last
        since = last if revision > last.revision else EMPTY  # smaller: the database was replaced by an older one
        tasks, keys = since.tasks, since.keys
        changed = set(connection.execute(select(Task.name).where(Task.revision > since.revision)).scalars())
        if changed:
            entries = _read_entries(connection, sorted(changed), last.tasks, self._parsed)
            unchanged = {name: entry for name, entry in tasks.items() if name not in changed}
            # Sorted here because each database sorts by its own collation.
            tasks = MappingProxyType(dict(sorted((unchanged | entries).items())))
        if changed_keys := read_keys(connection, since.revision):
            keys = MappingProxyType(dict(keys) | {key.id: key for key in changed_keys})
        self._last, self._parsed = Snapshot(revision, tasks, keys), {}
        return self._last

    def require(self, connection: Connection, task: str) -> TaskEntry:
        """Read one task. Raises UnknownTask if it has no version."""
        if TASK_NAME.fullmatch(task):  # PostgreSQL rejects text with a NUL
            entries = _read_entries(connection, [task], self._last.tasks, {})
            if task in entries:
                return entries[task]
        raise UnknownTask(task)


def published(
    task: str, version: int, digest: str, metadata: AdapterMetadata, num_bytes: int, created_at: datetime
) -> PublishedVersion:
    """Build the value of one row; `created_at` is UTC without a zone, as in the row."""
    return PublishedVersion(
        task=task,
        version=version,
        digest=digest,
        spec=metadata.task,
        metrics=MappingProxyType(dict(metadata.metrics)),
        num_parameters=metadata.num_parameters,
        num_bytes=num_bytes,
        created_at=created_at.replace(tzinfo=UTC),
        gates=metadata.gates,
    )


def _read_entries(
    connection: Connection, tasks: Sequence[str], known: Mapping[str, TaskEntry], parsed: Parsed
) -> dict[str, TaskEntry]:
    """Read those of `tasks` that have a version.

    Versions in `known` or `parsed` are not parsed again; newly parsed ones are added to `parsed`.
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
            if task in aliases:  # otherwise this release can read no version of the task
                aliases[task][alias] = number
        past = _read_past(connection, chunk)
        weights = dict(connection.execute(select(Task.name, Task.weight).where(Task.name.in_(chunk))).all())
        entries |= {
            task: TaskEntry(
                task,
                MappingProxyType(numbers),
                MappingProxyType(aliases[task]),
                weights[task],
                _rollback_target(past.get(task, []), numbers, aliases[task].get(LIVE)),
            )
            for task, numbers in versions.items()
        }
    return entries


def _read_versions(
    connection: Connection, tasks: Sequence[str], known: Mapping[str, TaskEntry], parsed: Parsed
) -> Iterator[PublishedVersion]:
    """Read all versions of `tasks`, ascending within each task."""
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
    """Parse one row; return None, and log it, if the row is damaged or this release cannot read it."""
    columns = row._asdict()
    if columns.pop("row_sha256") != row_sha256(**columns):
        logger.error(
            "version %s of task %s is left out: its row is damaged; publish its file again", row.version, row.task
        )
        return None
    try:
        metadata = AdapterMetadata.model_validate_json(row.metadata_json)
    except ValidationError:
        # A newer release may have written it; the other versions are served nevertheless.
        logger.warning("version %d of task %s is left out: this release cannot read it", row.version, row.task)
        return None
    return published(row.task, row.version, row.digest, metadata, row.num_bytes, row.created_at)


def _read_past(connection: Connection, tasks: Sequence[str]) -> dict[str, list[int]]:
    """Return the versions that `live` pointed to before, by task: each version once, the latest first."""
    query = (
        select(AliasHistory.task, AliasHistory.version)
        .where(AliasHistory.task.in_(tasks), AliasHistory.alias == LIVE)
        .group_by(AliasHistory.task, AliasHistory.version)
        .order_by(func.max(AliasHistory.id).desc())
    )
    past: dict[str, list[int]] = {}
    for task, version in connection.execute(query):
        past.setdefault(task, []).append(version)
    return past


def _rollback_target(past: Sequence[int], versions: Mapping[int, PublishedVersion], live: int | None) -> int | None:
    """The first of `past` that is readable, not live and not in quarantine; None if no version is live."""
    if live is None:
        return None
    usable = (number for number in past if number in versions and not versions[number].quarantined)
    return next((number for number in usable if number != live), None)
