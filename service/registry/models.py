"""The registry's tables. A change here needs a migration beside it (a test compares them)."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, LargeBinary, MetaData, String, Text
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from service.core import DEFAULT_WEIGHT

NAME = String(63)
DIGEST = String(64)


class Base(DeclarativeBase):
    """Constraints are named by rule, so that a later migration can name them too."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Revision(Base):
    """One row: a number that every write transaction raises. Locking this row is what makes a writer the only one."""

    __tablename__ = "revision"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    value: Mapped[int]


class Task(Base):
    """A public name. The row outlives its versions, so that no number is used again."""

    __tablename__ = "tasks"

    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    next_version: Mapped[int]
    revision: Mapped[int] = mapped_column(index=True)  # of its last change: what a snapshot must read again
    weight: Mapped[float] = mapped_column(default=DEFAULT_WEIGHT)  # of the engine's time, beside other tasks


class Blob(Base):
    """The bytes of an adapter file, once for all versions that hold them."""

    __tablename__ = "blobs"

    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)  # SHA-256 of `data`
    quarantined_at: Mapped[datetime | None]  # UTC; when `data` was found not to hash to `digest`
    data: Mapped[bytes] = mapped_column(LargeBinary)  # last, so that SQLite can skip it


class Version(Base):
    """A published adapter; never updated, but to put a damaged row right."""

    __tablename__ = "versions"
    __table_args__ = (Unique("task", "digest"),)

    task: Mapped[str] = mapped_column(NAME, ForeignKey("tasks.name"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[str] = mapped_column(DIGEST, ForeignKey("blobs.digest"), index=True)
    num_bytes: Mapped[int]
    created_at: Mapped[datetime]  # UTC, without a zone: SQLite has none
    row_sha256: Mapped[str] = mapped_column(DIGEST)  # of all other columns, by the function of that name
    metadata_json: Mapped[str] = mapped_column(Text)  # as in the file; last, so that SQLite can skip it


def row_sha256(task: str, version: int, digest: str, num_bytes: int, created_at: datetime, metadata_json: str) -> str:
    """What tells a damaged row of `versions`, as its digest does the bytes: another label would mislead as they do."""
    values = [task, version, digest, num_bytes, created_at.isoformat(), metadata_json]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


class Alias(Base):
    """Where a movable name points now."""

    __tablename__ = "aliases"
    __table_args__ = (ForeignKeyConstraint(["task", "version"], ["versions.task", "versions.version"]),)

    task: Mapped[str] = mapped_column(NAME, primary_key=True)
    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    version: Mapped[int]


class AliasHistory(Base):
    """Where an alias pointed before, oldest first: a stack that rollback pops. Goes with its version."""

    __tablename__ = "alias_history"
    __table_args__ = (
        ForeignKeyConstraint(["task", "version"], ["versions.task", "versions.version"], ondelete="CASCADE"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    task: Mapped[str] = mapped_column(NAME, index=True)
    alias: Mapped[str] = mapped_column(NAME)
    version: Mapped[int]


class Key(Base):
    """Who may use the API. The secret part of a key is not here, only its hash; a revoked key stays listed."""

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(NAME)
    scopes: Mapped[str] = mapped_column(Text)  # sorted, joined by spaces
    tasks: Mapped[str] = mapped_column(Text)  # sorted, joined by spaces; empty: every task
    secret_sha256: Mapped[str] = mapped_column(DIGEST)
    created_at: Mapped[datetime]  # UTC
    revoked_at: Mapped[datetime | None]  # UTC
    revision: Mapped[int] = mapped_column(index=True)  # of its last change, as in `tasks`


class Audit(Base):
    """Who changed what; never updated, and without foreign keys: it outlives what it tells of."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]  # UTC
    actor: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text)
    task: Mapped[str | None] = mapped_column(NAME)
    version: Mapped[int | None]
    alias: Mapped[str | None] = mapped_column(NAME)
    detail: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)


@dataclass(frozen=True)
class AuditRow:
    """One change, as `Registry.audit` tells it."""

    id: int
    at: datetime  # UTC
    actor: str
    action: str  # publish, set_alias, delete_alias, rollback, delete_version, set_weight, quarantine,
    # repair_bytes, repair_version, create_key, revoke_key, restore
    task: str | None  # None where it is about no task: create_key, revoke_key, restore
    version: int | None
    alias: str | None
    detail: str
    source: str
