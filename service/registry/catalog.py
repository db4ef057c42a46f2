"""Rows -> values: what a transaction sees, as a Snapshot or a TaskEntry. Parses each version once, reads no bytes."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

from pydantic import ValidationError
from sqlalchemy import Connection, select

from adapters.adapter import AdapterMetadata
from service.core import PublishedVersion
from service.registry.models import Alias, Revision, Task, Version
from service.registry.snapshot import NOTHING, Snapshot, TaskEntry

CHUNK = 500  # tasks of one query; SQLite takes at most 999 parameters in old versions

logger = logging.getLogger(__name__)


class Catalog:
    """Keeps the last snapshot: the next one takes from it every task that has not changed since."""

    def __init__(self) -> None:
        self._last = NOTHING  # replaced as a whole, so threads need no lock

    def snapshot(self, connection: Connection) -> Snapshot:
        """Everything published."""
        revision = connection.execute(select(Revision.value)).scalar_one()
        last = self._last
        if revision == last.revision:
            return last
        if revision < last.revision:  # a backup was put back
            last = NOTHING
        changed = set(connection.execute(select(Task.name).where(Task.revision > last.revision)).scalars())
        tasks = {name: entry for name, entry in last.tasks.items() if name not in changed}
        tasks |= _read_entries(connection, sorted(changed), last.tasks)
        # Sorted here, not by the database, which sorts by the rules of its own language.
        snapshot = Snapshot(revision, MappingProxyType(dict(sorted(tasks.items()))))
        self._last = snapshot
        return snapshot

    def entry(self, connection: Connection, task: str) -> TaskEntry | None:
        """One task; None where it has no version."""
        return _read_entries(connection, [task], self._last.tasks).get(task)


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


def _read_entries(connection: Connection, tasks: Sequence[str], known: Mapping[str, TaskEntry]) -> dict[str, TaskEntry]:
    """The entries of those of `tasks` that have a version; versions in `known` are not parsed again."""
    entries: dict[str, TaskEntry] = {}
    for start in range(0, len(tasks), CHUNK):
        chunk = tasks[start : start + CHUNK]
        versions: dict[str, dict[int, PublishedVersion]] = {}
        for version in _read_versions(connection, chunk, known):
            versions.setdefault(version.task, {})[version.version] = version
        aliases: dict[str, dict[str, int]] = {task: {} for task in versions}
        query = select(Alias.task, Alias.name, Alias.version).where(Alias.task.in_(chunk))
        for task, alias, number in sorted((row.task, row.name, row.version) for row in connection.execute(query)):
            if task in aliases:  # else this release can read no version of it
                aliases[task][alias] = number
        entries |= {
            task: TaskEntry(task, MappingProxyType(numbers), MappingProxyType(aliases[task]))
            for task, numbers in versions.items()
        }
    return entries


def _read_versions(
    connection: Connection, tasks: Sequence[str], known: Mapping[str, TaskEntry]
) -> Iterator[PublishedVersion]:
    """All versions of `tasks`, ascending within each."""
    before = [version for task in tasks if task in known for version in known[task].versions.values()]
    found = {(version.task, version.version, version.digest): version for version in before}
    query = select(Version.task, Version.version, Version.digest).where(Version.task.in_(tasks))
    keys = [tuple(row) for row in connection.execute(query.order_by(Version.version))]
    incomplete = {key[0] for key in keys if key not in found}
    details = select(
        Version.task, Version.version, Version.digest, Version.metadata_json, Version.num_bytes, Version.created_at
    ).where(Version.task.in_(incomplete))
    for task, number, digest, text, num_bytes, created_at in connection.execute(details) if incomplete else ():
        key = (task, number, digest)
        if key in found:
            continue
        try:
            metadata = AdapterMetadata.model_validate_json(text)
        except ValidationError:
            # A newer release may write what this one cannot read; the other versions must not suffer for it.
            logger.warning("version %d of task %s is left out: this release cannot read it", number, task)
            continue
        found[key] = published(task, number, digest, metadata, num_bytes, created_at)
    return (found[key] for key in keys if key in found)
