"""Write: one transaction, the only writer of the database, and the changes it can make. Each leaves an audit row."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, delete, insert, select, update

from service.core import PublishedVersion
from service.registry.database import locking
from service.registry.models import Alias, AliasHistory, Audit, Blob, Revision, Task, Version


@dataclass(eq=False)
class Write:
    """The changes that Registry makes; it has checked that they are allowed."""

    connection: Connection
    actor: str
    source: str
    now: datetime  # UTC without a zone, as the tables have it
    changed: set[str] = field(default_factory=set)  # tasks

    def record(self, action: str, task: str, version: int, alias: str | None = None, detail: str = "") -> None:
        """An audit row; the revision rises, and the task gets it, when the transaction ends."""
        self.changed.add(task)
        self.connection.execute(
            insert(Audit).values(
                at=self.now,
                actor=self.actor,
                action=action,
                task=task,
                version=version,
                alias=alias,
                detail=detail,
                source=self.source,
            )
        )

    def take_number(self, task: str) -> int:
        """The next version number of `task`, which is made if it is new."""
        number = self.connection.execute(select(Task.next_version).where(Task.name == task)).scalar()
        if number is None:
            number = 1
            self.connection.execute(insert(Task).values(name=task, next_version=2, revision=0))
        else:
            self.connection.execute(update(Task).where(Task.name == task).values(next_version=number + 1))
        return number

    def insert_version(self, version: PublishedVersion, metadata_json: str) -> None:
        """The row of a new version, whose bytes are stored."""
        self.connection.execute(
            insert(Version).values(
                task=version.task,
                version=version.version,
                digest=version.digest,
                num_bytes=version.num_bytes,
                created_at=self.now,
                metadata_json=metadata_json,
            )
        )
        self.record("publish", version.task, version.version, detail=version.digest)

    def store_bytes(self, version: PublishedVersion, data: bytes) -> None:
        """The bytes of `version`, unless they are there; stored ones that are damaged are put right."""
        stored = self.connection.execute(select(Blob.data).where(Blob.digest == version.digest)).scalar()
        if stored is None:
            self.connection.execute(insert(Blob).values(digest=version.digest, data=data))
        elif stored != data:
            self.connection.execute(update(Blob).where(Blob.digest == version.digest).values(data=data))
            self.record("repair_bytes", version.task, version.version, detail=version.digest)

    def delete_version(self, version: PublishedVersion) -> None:
        """The row of a version that no alias points to, and its bytes where no other version has them."""
        row = (Version.task == version.task, Version.version == version.version)
        self.connection.execute(delete(Version).where(*row))
        others = select(Version.digest).where(Version.digest == version.digest)
        self.connection.execute(delete(Blob).where(Blob.digest == version.digest, ~others.exists()))
        self.record("delete_version", version.task, version.version, detail=version.digest)

    def move_alias(self, task: str, alias: str, before: int | None, version: int) -> None:
        """Point `alias` from `before` (None: it is new) to `version`, and remember `before` for a rollback."""
        if before == version:
            return
        if before is None:
            self.connection.execute(insert(Alias).values(task=task, name=alias, version=version))
        else:
            self.connection.execute(insert(AliasHistory).values(task=task, alias=alias, version=before))
            self._point(task, alias, version)
        self.record("set_alias", task, version, alias, "" if before is None else f"was {before}")

    def pop_alias(self, task: str, alias: str, before: int) -> int | None:
        """Point `alias` to where it pointed before it came to `before`; None, and no change, where that is nowhere."""
        past = select(AliasHistory.id, AliasHistory.version).where(
            AliasHistory.task == task, AliasHistory.alias == alias, AliasHistory.version != before
        )
        row = self.connection.execute(past.order_by(AliasHistory.id.desc()).limit(1)).first()
        if row is None:
            return None
        place, version = row
        # Rows above it hold `before` itself: what lay between has been deleted.
        stack = (AliasHistory.task == task, AliasHistory.alias == alias)
        self.connection.execute(delete(AliasHistory).where(*stack, AliasHistory.id >= place))
        self._point(task, alias, version)
        self.record("rollback", task, version, alias, f"was {before}")
        return version

    def drop_alias(self, task: str, alias: str, before: int) -> None:
        """Remove `alias`, which points to `before`, and its past."""
        self.connection.execute(delete(Alias).where(Alias.task == task, Alias.name == alias))
        self.connection.execute(delete(AliasHistory).where(AliasHistory.task == task, AliasHistory.alias == alias))
        self.record("delete_alias", task, before, alias)

    def _point(self, task: str, alias: str, version: int) -> None:
        self.connection.execute(update(Alias).where(Alias.task == task, Alias.name == alias).values(version=version))


@contextmanager
def writing(engine: Engine, actor: str, source: str) -> Iterator[Write]:
    """A write transaction, alone until it ends; what raises inside it changes nothing."""
    with locking(engine) as connection:
        # The lock of PostgreSQL; SQLite has taken its own.
        revision = connection.execute(select(Revision.value).with_for_update()).scalar_one() + 1
        write = Write(connection, actor, source, now=datetime.now(UTC).replace(tzinfo=None))
        yield write
        if write.changed:
            connection.execute(update(Revision).values(value=revision))
            connection.execute(update(Task).where(Task.name.in_(write.changed)).values(revision=revision))
