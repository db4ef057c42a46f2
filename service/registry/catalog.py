"""Rows -> values: what a read transaction finds, as TaskEntry. Parses each version once and never reads bytes."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from types import MappingProxyType

from pydantic import ValidationError
from sqlalchemy import Connection, select

from adapters.adapter import AdapterMetadata
from service.core import PublishedVersion
from service.registry.models import Alias, Version
from service.registry.snapshot import TaskEntry

CHUNK = 500  # tasks of one query; SQLite takes at most 999 parameters in old versions

logger = logging.getLogger(__name__)
Key = tuple[str, int, str]  # task, version, digest


class Catalog:
    """Reads entries, and keeps the versions of the last full reading: they never change."""

    def __init__(self) -> None:
        self._known: Mapping[Key, PublishedVersion] = {}  # replaced as a whole, so threads need no lock

    def read_all(self, connection: Connection) -> Mapping[str, TaskEntry]:
        """Every task that has a version, by name."""
        return self._read(connection, None)

    def read(self, connection: Connection, task: str) -> TaskEntry | None:
        """One task; None where it has no version."""
        return self._read(connection, task).get(task)

    def _read(self, connection: Connection, task: str | None) -> Mapping[str, TaskEntry]:
        keys = select(Version.task, Version.version, Version.digest)
        aliases = select(Alias.task, Alias.name, Alias.version)
        if task is not None:
            keys, aliases = keys.where(Version.task == task), aliases.where(Alias.task == task)
        # Sorted here: a database sorts by the rules of its own language.
        found: list[Key] = sorted((task, version, digest) for task, version, digest in connection.execute(keys))
        pointers = sorted((task, alias, version) for task, alias, version in connection.execute(aliases))

        known = self._known
        missing = sorted({key[0] for key in found if key not in known})
        read = dict(_parse(connection, missing))
        current = {key: version for key in found if (version := known.get(key) or read.get(key)) is not None}
        if task is None:
            self._known = current

        numbers = {
            name: {version.version: version for version in versions}
            for name, versions in groupby(current.values(), key=lambda version: version.task)
        }
        targets: dict[str, dict[str, int]] = {name: {} for name in numbers}
        for name, alias, number in pointers:
            if name in targets:  # else this release can read no version of the task
                targets[name][alias] = number
        return MappingProxyType(
            {
                name: TaskEntry(name, MappingProxyType(versions), MappingProxyType(targets[name]))
                for name, versions in numbers.items()
            }
        )


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


def _parse(connection: Connection, tasks: Sequence[str]) -> Iterator[tuple[Key, PublishedVersion]]:
    for start in range(0, len(tasks), CHUNK):
        query = select(
            Version.task, Version.version, Version.digest, Version.metadata_json, Version.num_bytes, Version.created_at
        ).where(Version.task.in_(tasks[start : start + CHUNK]))
        for task, version, digest, text, num_bytes, created_at in connection.execute(query):
            try:
                metadata = AdapterMetadata.model_validate_json(text)
            except ValidationError:
                # A newer release may write what this one cannot read; the other versions must not suffer for it.
                logger.warning("version %d of task %s is left out: this release cannot read it", version, task)
                continue
            yield (task, version, digest), published(task, version, digest, metadata, num_bytes, created_at)
