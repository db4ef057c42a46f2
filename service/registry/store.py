"""Registry: the published versions of every task, in SQLite or PostgreSQL. Synchronous; any thread may call it."""

import hashlib
import re
from dataclasses import replace
from datetime import UTC
from enum import Enum

from sqlalchemy import Connection, Engine, select

from adapters import checkpoint
from adapters.errors import CheckpointError
from service.core import LIVE, TASK_NAME, PublishedVersion
from service.errors import (
    AdapterUnavailable,
    AliasConflict,
    InvalidInput,
    PreconditionFailed,
    UnknownVersion,
    UploadRefused,
)
from service.registry.catalog import Catalog, published
from service.registry.database import create_engine, reading
from service.registry.models import Audit, AuditRow, Blob, Revision, Version
from service.registry.snapshot import Snapshot, TaskEntry, unknown_task
from service.registry.upgrade import upgrade
from service.registry.write import writing


class Unset(Enum):
    """The type of UNSET."""

    UNSET = "unset"


UNSET = Unset.UNSET  # no `expected` given, where None means that the alias must not exist


class Registry:
    """Every method that writes does so in one transaction, and raises RegistryUnavailable where it cannot."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._catalog = Catalog()

    @classmethod
    def open(cls, url: str) -> "Registry":
        """The registry at `url` (sqlite:///... or postgresql+psycopg://...), made or brought up to date as needed."""
        engine = create_engine(url)
        try:
            upgrade(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    def close(self) -> None:
        """Close the connections; nothing may be called after it."""
        self._engine.dispose()

    def revision(self) -> int:
        """A number that differs after every change; 0 as long as nothing was ever published."""
        with reading(self._engine) as connection:
            return connection.execute(select(Revision.value)).scalar_one()

    def snapshot(self) -> Snapshot:
        """Everything published, as it is now."""
        with reading(self._engine) as connection:
            return self._catalog.snapshot(connection)

    def publish(
        self, task: str, data: bytes, *, activate: bool = True, actor: str = "local", source: str = ""
    ) -> tuple[PublishedVersion, bool]:
        """The adapter file `data` as a version of `task`, and whether it is a new one; `live` moves if `activate`.

        Bytes that already are a version of the task get no second number. Raises InvalidInput for the name,
        UploadRefused for the file.
        """
        if not TASK_NAME.fullmatch(task):
            raise InvalidInput(f"task name {task[:64]!r} does not match {TASK_NAME.pattern}")
        try:
            adapter = checkpoint.loads(data)
        except CheckpointError as error:
            raise UploadRefused(error.reason, str(error)) from error
        with writing(self._engine, actor, source) as write:
            entry = self._catalog.entry(write.connection, task)
            versions = entry.versions.values() if entry else ()
            known = next((version for version in versions if version.digest == adapter.digest), None)
            version = known or published(
                task, write.take_number(task), adapter.digest, adapter.metadata, len(data), write.now
            )
            write.store_bytes(version, data)
            if known is None:
                write.insert_version(version, checkpoint.canonical_json(adapter.metadata))
            if activate:
                write.move_alias(task, LIVE, entry.aliases.get(LIVE) if entry else None, version.version)
            return version, known is None

    def set_alias(
        self,
        task: str,
        alias: str,
        version: int,
        *,
        expected: int | Unset | None = UNSET,
        actor: str = "local",
        source: str = "",
    ) -> PublishedVersion:
        """Point `alias` to `version`; with `expected`, only if it points there now (None: only if it is not there).

        Raises PreconditionFailed, UnknownTask, UnknownVersion, or InvalidInput for the name.
        """
        if not TASK_NAME.fullmatch(alias) or re.fullmatch(r"[0-9]+", alias):
            raise InvalidInput(f"alias {alias[:64]!r} must match {TASK_NAME.pattern}, and be no number")
        with writing(self._engine, actor, source) as write:
            entry = self._require(write.connection, task)
            target = entry.version(version)
            _check_expected(entry, alias, expected)
            write.move_alias(task, alias, entry.aliases.get(alias), version)
            return target

    def delete_alias(
        self,
        task: str,
        alias: str,
        *,
        expected: int | Unset = UNSET,
        actor: str = "local",
        source: str = "",
    ) -> None:
        """Remove `alias`; without `live` a task is no longer served by its name alone.

        Raises PreconditionFailed, UnknownTask, or UnknownVersion where there is no such alias.
        """
        with writing(self._engine, actor, source) as write:
            entry = self._require(write.connection, task)
            _check_expected(entry, alias, expected)
            if alias not in entry.aliases:
                raise UnknownVersion(f"task {task!r} has no alias {alias[:63]!r}")
            write.drop_alias(task, alias, entry.aliases[alias])

    def rollback(self, task: str, *, actor: str = "local", source: str = "") -> PublishedVersion:
        """`live` back to the version that it pointed to before; again, and it goes back one more.

        Versions deleted meanwhile are skipped. Raises AliasConflict where there is none, UnknownTask.
        """
        with writing(self._engine, actor, source) as write:
            entry = self._require(write.connection, task)
            live = entry.aliases.get(LIVE)
            number = None if live is None else write.pop_alias(task, LIVE, live)
            if number is None:
                raise AliasConflict(f"task {task!r} has nothing to roll back to: {LIVE} pointed nowhere else before")
            return entry.version(number)

    def delete_version(self, task: str, version: int, *, actor: str = "local", source: str = "") -> None:
        """Remove a version, and its bytes where no other has them. Its number is not used again.

        Raises AliasConflict where an alias points to it, UnknownTask, UnknownVersion.
        """
        with writing(self._engine, actor, source) as write:
            entry = self._require(write.connection, task)
            target = entry.version(version)
            if aliases := [alias for alias, number in entry.aliases.items() if number == version]:
                raise AliasConflict(f"version {version} of task {task!r} is in use as {', '.join(aliases)}")
            write.delete_version(target)

    def read_adapter(self, digest: str) -> bytes:
        """The file of that digest, hashed again. Raises AdapterUnavailable where it is damaged or gone."""
        with reading(self._engine) as connection:
            data = connection.execute(select(Blob.data).where(Blob.digest == digest)).scalar()
        if data is None:
            raise AdapterUnavailable(f"adapter {digest[:12]} is no longer in the registry")
        if hashlib.sha256(data).hexdigest() != digest:
            raise AdapterUnavailable(f"adapter {digest[:12]} is damaged in the registry: publish its file again")
        return data

    def audit(self, limit: int = 100) -> list[AuditRow]:
        """The last `limit` changes, newest first."""
        query = select(Audit.__table__).order_by(Audit.id.desc()).limit(limit)
        with reading(self._engine) as connection:
            rows = [AuditRow(**row) for row in connection.execute(query).mappings()]
        return [replace(row, at=row.at.replace(tzinfo=UTC)) for row in rows]

    def _require(self, connection: Connection, task: str) -> TaskEntry:
        entry = self._catalog.entry(connection, task)
        if entry is None:
            raise unknown_task(task, sorted(connection.execute(select(Version.task).distinct()).scalars()))
        return entry


def _check_expected(entry: TaskEntry, alias: str, expected: int | Unset | None) -> None:
    actual = entry.aliases.get(alias)
    if expected is not UNSET and expected != actual:
        place = "does not exist" if actual is None else f"points to version {actual}"
        raise PreconditionFailed(f"alias {alias!r} of task {entry.name!r} {place}")
