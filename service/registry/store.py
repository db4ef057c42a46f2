"""Registry: what is published, and who may use it, in SQLite or PostgreSQL. Synchronous; any thread may call it."""

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC

from sqlalchemy import Engine, select

from adapters import checkpoint
from adapters.adapter import AdapterMetadata
from adapters.errors import CheckpointError
from service.core import LIVE, MAX_WEIGHT, MIN_WEIGHT, ApiKey, find_name_fault
from service.errors import (
    AliasConflict,
    Incompatible,
    InvalidInput,
    UnknownKey,
    UnknownVersion,
    UploadRefused,
)
from service.registry.audit import read_audit
from service.registry.blobs import read_bytes
from service.registry.catalog import Catalog, published, read_key, read_metadata
from service.registry.database import create_engine, is_sqlite, reading
from service.registry.expected import UNSET, Unset, check_expected
from service.registry.keys import make_key
from service.registry.listener import Listener
from service.registry.models import AuditRow, Revision
from service.registry.postgres import connect_alone
from service.registry.results import Moved, Published
from service.registry.snapshot import Snapshot
from service.registry.time_limit import CALL_TIMEOUT_S
from service.registry.upgrade import upgrade
from service.registry.write import writing


class Registry:
    """Every method ends within CALL_TIMEOUT_S, and raises RegistryUnavailable where the database cannot be used.

    What writes does so in one transaction, or not at all; StorageFull where the disk is full.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._catalog = Catalog()

    @classmethod
    def open(cls, url: str) -> "Registry":
        """The registry at `url` (sqlite:///... or postgresql://...), made or brought up to date as needed."""
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

    def snapshot(self, timeout_s: float = CALL_TIMEOUT_S) -> Snapshot:
        """Everything published and every key, as it is now; the first one reads all of it."""
        with reading(self._engine, timeout_s) as connection:
            return self._catalog.snapshot(connection)

    def listener(self, told: Callable[[], object], retry_s: float) -> Listener | None:
        """One that calls `told` at every change, from a thread of its own; None on SQLite, which tells nobody."""
        if is_sqlite(self._engine):
            return None
        return Listener(lambda: connect_alone(self._engine), told, retry_s)

    def publish(
        self,
        task: str,
        data: bytes,
        *,
        activate: bool = True,
        allow_incompatible: bool = False,
        actor: str = "local",
        source: str = "",
    ) -> Published:
        """The adapter file `data` as a version of `task`; `live` moves if `activate`.

        Bytes that already are a version of the task get no second number; what was damaged of it is put right, and
        comes out of quarantine. Raises InvalidInput for the name, UploadRefused for the file, StorageFull (on SQLite
        already where less than sqlite.RESERVE_BYTES would be left: small changes need room too), and Incompatible
        where the version is stored and is not made live.
        """
        if fault := find_name_fault("task", task):
            raise InvalidInput(fault)
        try:
            adapter = checkpoint.parse(data)
        except CheckpointError as error:
            raise UploadRefused(error.reason, str(error)) from error
        metadata, digest = adapter.metadata, adapter.digest
        with writing(self._engine, actor, source) as write:
            write.store_bytes(digest, data)
            number, created_at, created = write.store_version(
                task, digest, len(data), checkpoint.canonical_json(metadata)
            )
            version = published(task, number, digest, metadata, len(data), created_at)
            entry = self._catalog.require(write.connection, task)
            if not activate:
                return Published(version, created, entry.changes(version))
            try:
                changes = write.move_alias(entry, LIVE, version, allow_incompatible=allow_incompatible)
                return Published(version, created, changes)
            except Incompatible as error:
                refused = error
        raise refused  # after the commit: the version is stored

    def set_alias(
        self,
        task: str,
        alias: str,
        version: int,
        *,
        expected: int | Unset | None = UNSET,
        allow_incompatible: bool = False,
        actor: str = "local",
        source: str = "",
    ) -> Moved:
        """Point `alias` to `version`; with `expected`, only if it points there now (None: only if it is not there).

        Raises PreconditionFailed, UnknownTask, UnknownVersion, AliasConflict where `version` is in quarantine,
        Incompatible where it would break the clients of `live`, or InvalidInput for the name.
        """
        if fault := find_name_fault("alias", alias):
            raise InvalidInput(fault)
        with writing(self._engine, actor, source) as write:
            entry = self._catalog.require(write.connection, task)
            target = entry.version(version)
            check_expected(entry, alias, expected)
            if target.quarantined:
                raise AliasConflict(f"version {version} of task {task!r} is damaged: publish its file again")
            return Moved(target, write.move_alias(entry, alias, target, allow_incompatible=allow_incompatible))

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
            entry = self._catalog.require(write.connection, task)
            check_expected(entry, alias, expected)
            if alias not in entry.aliases:
                raise UnknownVersion(f"task {task!r} has no alias {alias[:63]!r}")
            write.drop_alias(task, alias, entry.aliases[alias])

    def rollback(
        self,
        task: str,
        *,
        expected: int | Unset = UNSET,
        allow_incompatible: bool = False,
        actor: str = "local",
        source: str = "",
    ) -> Moved:
        """`live` back to the version that it pointed to before; again, and it goes back one more.

        Versions deleted or damaged meanwhile are skipped. With `expected`, only if it points there now. Raises
        PreconditionFailed, AliasConflict where there is no earlier one, Incompatible where that one would break the
        clients of `live`, UnknownTask.
        """
        with writing(self._engine, actor, source) as write:
            entry = self._catalog.require(write.connection, task)
            check_expected(entry, LIVE, expected)
            if entry.rollback_to is None:
                raise AliasConflict(f"task {task!r} has nothing to roll back to: {LIVE} pointed nowhere else before")
            target = entry.version(entry.rollback_to)
            return Moved(target, write.roll_back(entry, target, allow_incompatible=allow_incompatible))

    def delete_version(self, task: str, version: int, *, actor: str = "local", source: str = "") -> None:
        """Remove a version, and its bytes where no other has them. Its number is not used again.

        Raises AliasConflict where an alias points to it, UnknownTask, UnknownVersion.
        """
        with writing(self._engine, actor, source) as write:
            entry = self._catalog.require(write.connection, task)
            target = entry.version(version)
            if aliases := [alias for alias, number in entry.aliases.items() if number == version]:
                raise AliasConflict(f"version {version} of task {task!r} is in use as {', '.join(aliases)}")
            write.delete_version(target)

    def set_weight(self, task: str, weight: float, *, actor: str = "local", source: str = "") -> None:
        """The task's share of the engine where several tasks want it. Raises InvalidInput, UnknownTask."""
        if not MIN_WEIGHT <= weight <= MAX_WEIGHT:
            raise InvalidInput(f"a weight is a number from {MIN_WEIGHT:g} to {MAX_WEIGHT:g}")
        with writing(self._engine, actor, source) as write:
            before = self._catalog.require(write.connection, task).weight
            if weight != before:
                write.set_weight(task, weight, before)

    def read_adapter(self, digest: str) -> bytes:
        """The file of that digest, hashed again.

        Raises AdapterUnavailable where it is gone, or damaged: then its versions are in quarantine from now on.
        """
        return read_bytes(self._engine, digest)

    def metadata(self, task: str, version: int) -> AdapterMetadata:
        """What the adapter file of a version says of itself. Raises UnknownVersion."""
        with reading(self._engine) as connection:
            return read_metadata(connection, task, version)

    def create_key(
        self, name: str, scopes: Collection[str], tasks: Collection[str] = (), *, actor: str = "local", source: str = ""
    ) -> tuple[ApiKey, str]:
        """A key for `tasks` (none: for all), and its text, which is told this once only: a hash is what is stored.

        Raises InvalidInput for the name (1 to 63 printable characters), the scopes, or what is no name of a task.
        """
        key, text = make_key(name, scopes, tasks)
        with writing(self._engine, actor, source) as write:
            write.insert_key(key)
        return key, text

    def revoke_key(self, key_id: str, *, actor: str = "local", source: str = "") -> ApiKey:
        """The key, which is good for nothing from now on, or has not been for longer. Raises UnknownKey."""
        with writing(self._engine, actor, source) as write:
            # PostgreSQL takes no text that holds a NUL.
            key = read_key(write.connection, key_id) if key_id.isalnum() else None
            if key is None:
                raise UnknownKey(f"no key {key_id[:64]!r}")
            if key.revoked_at is not None:
                return key
            write.revoke_key(key)
            return replace(key, revoked_at=write.now.replace(tzinfo=UTC))

    def audit(self, limit: int = 100, *, before: int | None = None, task: str | None = None) -> list[AuditRow]:
        """The last `limit` changes, newest first: of those with a smaller id than `before`, of one `task`."""
        return read_audit(self._engine, limit, before, task)
