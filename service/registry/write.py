"""Write: the changes that a write transaction can make. Each adds a row to the audit log."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from service.core import LIVE, ApiKey, PublishedVersion
from service.errors import Incompatible
from service.registry.compatibility import Changes
from service.registry.database import exclusive, is_sqlite
from service.registry.models import Alias, AliasHistory, Audit, Blob, Key, Revision, Task, Version, row_sha256
from service.registry.postgres import notify
from service.registry.snapshot import TaskEntry
from service.registry.sqlite import require_room


@dataclass(eq=False)
class Write:
    """One write transaction. Its caller, Registry, checks that a change is allowed."""

    connection: Connection
    actor: str
    source: str
    now: datetime  # UTC without a zone, as in the tables
    tasks: set[str] = field(default_factory=set)  # names of the changed ones
    keys: set[str] = field(default_factory=set)  # ids of the changed ones

    def record(
        self, action: str, task: str | None = None, version: int | None = None, *, alias: str = "", detail: str = ""
    ) -> None:
        """Add an audit row; `finish` raises the revision of `task`."""
        if task is not None:
            self.tasks.add(task)
        row = {"action": action, "task": task, "version": version, "alias": alias or None, "detail": detail}
        self.connection.execute(insert(Audit).values(at=self.now, actor=self.actor, source=self.source, **row))

    def store_bytes(self, digest: str, data: bytes) -> None:
        """Store `data` unless it is stored already; replace damaged bytes. Raises StorageFull."""
        place = Blob.digest == digest
        row = self.connection.execute(select(Blob.data, Blob.quarantined_at).where(place)).first()
        if row is not None and row.data == data and row.quarantined_at is None:
            return
        if is_sqlite(self.connection.engine):
            require_room(self.connection, len(data))
        if row is None:
            self.connection.execute(insert(Blob).values(digest=digest, data=data))
        else:
            self.connection.execute(update(Blob).where(place).values(data=data, quarantined_at=None))
            self._record_all("repair_bytes", digest)

    def quarantine(self, digest: str) -> bool:
        """Mark the bytes of `digest` as damaged; return False if they are intact, deleted or marked already."""
        place = Blob.digest == digest
        row = self.connection.execute(select(Blob.data, Blob.quarantined_at).where(place)).first()
        if row is None or row.quarantined_at is not None or hashlib.sha256(row.data).hexdigest() == digest:
            return False
        self.connection.execute(update(Blob).where(place).values(quarantined_at=self.now))
        self._record_all("quarantine", digest)
        return True

    def store_version(self, task: str, digest: str, num_bytes: int, metadata_json: str) -> tuple[int, datetime, bool]:
        """Store the row of a version whose bytes are stored; repair the row if it exists and is damaged.

        Returns the version's number, its time of creation, and whether it is new.
        """
        same = (Version.task == task, Version.digest == digest)
        row = self.connection.execute(select(Version.__table__).where(*same)).first()
        number = self._take_number(task) if row is None else row.version
        created_at = self.now if row is None else row.created_at
        values = {
            "num_bytes": num_bytes,
            "metadata_json": metadata_json,
            "row_sha256": row_sha256(task, number, digest, num_bytes, created_at, metadata_json),
        }
        if row is None:
            fixed = {"task": task, "version": number, "digest": digest, "created_at": created_at}
            self.connection.execute(insert(Version).values(**fixed, **values))
            self.record("publish", task, number, detail=digest)
        elif any(getattr(row, name) != value for name, value in values.items()):
            self.connection.execute(update(Version).where(*same).values(**values))
            self.record("repair_version", task, number, detail=digest)
        return number, created_at, row is None

    def delete_version(self, version: PublishedVersion) -> None:
        """Delete a version that no alias points to, and its bytes unless another version has them."""
        row = (Version.task == version.task, Version.version == version.version)
        self.connection.execute(delete(Version).where(*row))
        others = select(Version.digest).where(Version.digest == version.digest)
        self.connection.execute(delete(Blob).where(Blob.digest == version.digest, ~others.exists()))
        self.record("delete_version", version.task, version.version, detail=version.digest)

    def move_alias(
        self, entry: TaskEntry, alias: str, target: PublishedVersion, *, allow_incompatible: bool
    ) -> Changes | None:
        """Point `alias` to `target`, and store the version it pointed to for a rollback.

        `entry` is the task as this transaction sees it. Returns the changes against its live version. Raises
        Incompatible if they would break the clients of `live`.
        """
        changes = entry.changes(target)
        allowed = _check_compatible(alias, target, changes, allow_incompatible)
        task, version, before = entry.name, target.version, entry.aliases.get(alias)
        if before == version:
            return changes
        if before is None:
            self.connection.execute(insert(Alias).values(task=task, name=alias, version=version))
        else:
            self.connection.execute(insert(AliasHistory).values(task=task, alias=alias, version=before))
            self._point(task, alias, version)
        detail = "" if before is None else f"was {before}"
        self.record("set_alias", task, version, alias=alias, detail=detail + allowed)
        return changes

    def roll_back(self, entry: TaskEntry, target: PublishedVersion, *, allow_incompatible: bool) -> Changes | None:
        """Point `live` back to `target`, which is `entry.rollback_to`; otherwise like `move_alias`."""
        changes = entry.changes(target)
        allowed = _check_compatible(LIVE, target, changes, allow_incompatible)
        stack = (AliasHistory.task == entry.name, AliasHistory.alias == LIVE)
        place = self.connection.execute(
            select(func.max(AliasHistory.id)).where(*stack, AliasHistory.version == target.version)
        ).scalar_one()
        # Rows above it hold the live version itself (if those between were deleted) and versions in quarantine.
        self.connection.execute(delete(AliasHistory).where(*stack, AliasHistory.id >= place))
        self._point(entry.name, LIVE, target.version)
        detail = f"was {entry.aliases[LIVE]}{allowed}"
        self.record("rollback", entry.name, target.version, alias=LIVE, detail=detail)
        return changes

    def drop_alias(self, task: str, alias: str, before: int) -> None:
        """Delete `alias`, which points to `before`, and its history."""
        self.connection.execute(delete(Alias).where(Alias.task == task, Alias.name == alias))
        self.connection.execute(delete(AliasHistory).where(AliasHistory.task == task, AliasHistory.alias == alias))
        self.record("delete_alias", task, before, alias=alias)

    def set_weight(self, task: str, weight: float, before: float) -> None:
        """Change the weight of `task` from `before` to `weight`."""
        self.connection.execute(update(Task).where(Task.name == task).values(weight=weight))
        self.record("set_weight", task, detail=f"{weight:g}, was {before:g}")

    def insert_key(self, key: ApiKey) -> None:
        """Store a new key."""
        self.connection.execute(
            insert(Key).values(
                id=key.id,
                name=key.name,
                scopes=" ".join(sorted(key.scopes)),
                tasks=" ".join(sorted(key.tasks)),
                secret_sha256=key.secret_sha256,
                created_at=key.created_at.replace(tzinfo=None),
                revision=0,
            )
        )
        self._record_key("create_key", key)

    def revoke_key(self, key: ApiKey) -> None:
        """Revoke `key`; it stays listed."""
        self.connection.execute(update(Key).where(Key.id == key.id).values(revoked_at=self.now))
        self._record_key("revoke_key", key)

    def finish(self, revision: int) -> None:
        """Store `revision` with the changed tasks and keys, and notify the other processes."""
        self.connection.execute(update(Revision).values(value=revision))
        self.connection.execute(update(Task).where(Task.name.in_(self.tasks)).values(revision=revision))
        self.connection.execute(update(Key).where(Key.id.in_(self.keys)).values(revision=revision))
        if not is_sqlite(self.connection.engine):
            notify(self.connection)

    def _take_number(self, task: str) -> int:
        number = self.connection.execute(select(Task.next_version).where(Task.name == task)).scalar()
        if number is None:
            number = 1
            self.connection.execute(insert(Task).values(name=task, next_version=2, revision=0))
        else:
            self.connection.execute(update(Task).where(Task.name == task).values(next_version=number + 1))
        return number

    def _point(self, task: str, alias: str, version: int) -> None:
        self.connection.execute(update(Alias).where(Alias.task == task, Alias.name == alias).values(version=version))

    def _record_all(self, action: str, digest: str) -> None:
        rows = select(Version.task, Version.version).where(Version.digest == digest).order_by(Version.task)
        for task, version in self.connection.execute(rows).all():
            self.record(action, task, version, detail=digest)

    def _record_key(self, action: str, key: ApiKey) -> None:
        self.keys.add(key.id)
        detail = {"id": key.id, "name": key.name, "scopes": sorted(key.scopes), "tasks": sorted(key.tasks)}
        self.record(action, detail=json.dumps(detail, ensure_ascii=False))


@contextmanager
def writing(engine: Engine, actor: str, source: str) -> Iterator[Write]:
    """Open a write transaction that excludes other writers. It is rolled back if its body raises."""
    with exclusive(engine) as (connection, revision):
        write = Write(connection, actor, source, now=datetime.now(UTC).replace(tzinfo=None))
        yield write
        if write.tasks or write.keys:
            write.finish(revision + 1)


def _check_compatible(alias: str, target: PublishedVersion, changes: Changes | None, allowed: bool) -> str:
    """Raise Incompatible if `target` would break clients and is not `allowed` to; return an addition to the audit row.

    Only `live` is checked: clients name any other alias explicitly.
    """
    if alias != LIVE or changes is None or not changes.breaking:
        return ""
    differences = "; ".join(changes.breaking)
    if allowed:
        return f"; incompatible, as allowed: {differences}"
    raise Incompatible(
        f"{target.task}@{target.version} was not made live: it would break the clients of version {changes.live}: "
        f"{differences} (allow_incompatible=true or --allow-incompatible makes it live anyway)",
        {"version": target.version, "digest": target.digest, "changes": changes.as_json()},
    )
