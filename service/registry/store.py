"""Registry: published versions, aliases and keys in SQLite or PostgreSQL. Synchronous; any thread may call it."""

import hashlib
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC

from sqlalchemy import Engine, select

from adapters.adapter import AdapterMetadata
from service.core import LIVE, MAX_WEIGHT, MIN_WEIGHT, ApiKey, CheckedUpload, find_name_fault
from service.errors import (
    AliasConflict,
    Incompatible,
    InvalidInput,
    UnknownKey,
    UnknownVersion,
)
from service.registry.catalog import Catalog, published
from service.registry.database import create_engine, is_sqlite, reading
from service.registry.listener import Listener
from service.registry.models import Revision
from service.registry.postgres import connect_alone
from service.registry.queries import read_audit, read_bytes, read_key, read_metadata
from service.registry.schema import upgrade
from service.registry.snapshot import Snapshot
from service.registry.values import UNSET, AuditRow, Moved, Published, Unset, check_expected, make_key
from service.registry.write import writing


class Registry:
    """Every method ends within CALL_TIMEOUT_S; it raises RegistryUnavailable if the database cannot be used.

    A method that writes does so in one transaction; it raises StorageFull if the disk is full.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._catalog = Catalog()

    @classmethod
    def open(cls, url: str) -> "Registry":
        """Open the registry at `url` (sqlite:///... or postgresql://...); create or migrate it if needed."""
        engine = create_engine(url)
        try:
            upgrade(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    def close(self) -> None:
        """Close the connections. No method may be called afterwards."""
        self._engine.dispose()

    def revision(self) -> int:
        """Read a number that rises with every change; 0 in a new registry."""
        with reading(self._engine) as connection:
            return connection.execute(select(Revision.value)).scalar_one()

    def snapshot(self, timeout_s: float | None = None) -> Snapshot:
        """Read all published versions and keys; after the first call, only those that have changed."""
        with reading(self._engine, timeout_s) as connection:
            return self._catalog.snapshot(connection)

    def listener(self, on_change: Callable[[], object], retry_s: float) -> Listener | None:
        """Create a listener that calls `on_change` from its own thread; None on SQLite, which cannot notify."""
        if is_sqlite(self._engine):
            return None
        return Listener(lambda: connect_alone(self._engine), on_change, retry_s)

    def publish(
        self,
        task: str,
        upload: CheckedUpload,
        *,
        activate: bool = True,
        allow_incompatible: bool = False,
        actor: str = "local",
        source: str = "",
    ) -> Published:
        """Store a checked file as a version of `task`, and make it live if `activate`.

        If the task has a version with these bytes, that version is returned, repaired if it was damaged. Raises
        InvalidInput for the name, ValueError if the file is not the one that was checked, StorageFull (on SQLite if
        less than sqlite.RESERVE_BYTES would be left), and Incompatible if the version is stored but was not made live.
        """
        if fault := find_name_fault("task", task):
            raise InvalidInput(fault)
        data, digest = upload.data, upload.digest
        if hashlib.sha256(data).hexdigest() != digest:
            raise ValueError(f"the file is not the one that was checked: its SHA-256 is not {digest}")
        metadata = AdapterMetadata.model_validate_json(upload.metadata_json)
        with writing(self._engine, actor, source) as write:
            write.store_bytes(digest, data)
            number, created_at, created = write.store_version(task, digest, len(data), upload.metadata_json)
            version = published(task, number, digest, metadata, len(data), created_at)
            entry = self._catalog.require(write.connection, task)
            if not activate:
                return Published(version, created, entry.changes(version))
            try:
                changes = write.move_alias(entry, LIVE, version, allow_incompatible=allow_incompatible)
                return Published(version, created, changes)
            except Incompatible as error:
                refused = error
        raise refused  # after the commit, so the version is stored

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
        """Point `alias` to `version`; with `expected`, only if it points there now (None: only if it does not exist).

        Raises PreconditionFailed, UnknownTask, UnknownVersion, AliasConflict if `version` is in quarantine,
        Incompatible if it would break the clients of `live`, or InvalidInput for the name.
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
        """Delete `alias`. A task without `live` is not served by its name alone.

        Raises PreconditionFailed, UnknownTask, or UnknownVersion if there is no such alias.
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
        """Point `live` back to the version before; each further call goes back one more.

        Versions deleted or damaged meanwhile are skipped. With `expected`, only if `live` points there now. Raises
        PreconditionFailed, AliasConflict if there is no earlier version, Incompatible if that version would break the
        clients of `live`, UnknownTask.
        """
        with writing(self._engine, actor, source) as write:
            entry = self._catalog.require(write.connection, task)
            check_expected(entry, LIVE, expected)
            if entry.rollback_to is None:
                raise AliasConflict(
                    f"task {task!r} has nothing to roll back to: {LIVE} pointed to no other usable version"
                )
            target = entry.version(entry.rollback_to)
            return Moved(target, write.roll_back(entry, target, allow_incompatible=allow_incompatible))

    def delete_version(self, task: str, version: int, *, actor: str = "local", source: str = "") -> None:
        """Delete a version, and its bytes unless another version has them. Its number is not used again.

        Raises AliasConflict if an alias points to it, UnknownTask, UnknownVersion.
        """
        with writing(self._engine, actor, source) as write:
            entry = self._catalog.require(write.connection, task)
            target = entry.version(version)
            if aliases := [alias for alias, number in entry.aliases.items() if number == version]:
                raise AliasConflict(
                    f"version {version} of task {task!r} is in use as {', '.join(aliases)}: move the alias first"
                )
            write.delete_version(target)

    def set_weight(self, task: str, weight: float, *, actor: str = "local", source: str = "") -> None:
        """Set the task's share of the engine's time relative to other tasks. Raises InvalidInput, UnknownTask."""
        if not MIN_WEIGHT <= weight <= MAX_WEIGHT:
            raise InvalidInput(f"a weight must be a number from {MIN_WEIGHT:g} to {MAX_WEIGHT:g}")
        with writing(self._engine, actor, source) as write:
            before = self._catalog.require(write.connection, task).weight
            if weight != before:
                write.set_weight(task, weight, before)

    def read_adapter(self, digest: str) -> bytes:
        """Read the adapter file of `digest` and hash it again.

        Raises AdapterUnavailable if the file is deleted, or damaged; damage puts its versions into quarantine.
        """
        return read_bytes(self._engine, digest)

    def metadata(self, task: str, version: int) -> AdapterMetadata:
        """Read the metadata in the adapter file of a version. Raises UnknownVersion."""
        with reading(self._engine) as connection:
            return read_metadata(connection, task, version)

    def create_key(
        self, name: str, scopes: Collection[str], tasks: Collection[str] = (), *, actor: str = "local", source: str = ""
    ) -> tuple[ApiKey, str]:
        """Create a key for `tasks` (empty: all); return it and its secret text, of which only a hash is stored.

        Raises InvalidInput for the name (1 to 63 printable characters), the scopes, or an invalid task name.
        """
        key, text = make_key(name, scopes, tasks)
        with writing(self._engine, actor, source) as write:
            write.insert_key(key)
        return key, text

    def revoke_key(self, key_id: str, *, actor: str = "local", source: str = "") -> ApiKey:
        """Revoke a key, or do nothing if it is revoked; return it. Raises UnknownKey."""
        with writing(self._engine, actor, source) as write:
            # PostgreSQL rejects text with a NUL.
            key = read_key(write.connection, key_id) if key_id.isalnum() else None
            if key is None:
                raise UnknownKey(f"no key {key_id[:64]!r} (GET /admin/v1/keys lists them)")
            if key.revoked_at is not None:
                return key
            write.revoke_key(key)
            return replace(key, revoked_at=write.now.replace(tzinfo=UTC))

    def audit(self, limit: int = 100, *, before: int | None = None, task: str | None = None) -> list[AuditRow]:
        """Read the last `limit` changes, newest first; only those with an id under `before`, only those of `task`."""
        return read_audit(self._engine, limit, before, task)
