"""The registry's tables. A change here needs a migration (a test compares them)."""

import hashlib
import json
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, LargeBinary, MetaData, String, Text
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from service.core import DEFAULT_WEIGHT

NAME = String(63)
DIGEST = String(64)


class Base(DeclarativeBase):
    """Names constraints by rule, so that later migrations can refer to them."""

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
    """One row: a number that every write transaction raises. A writer locks this row."""

    __tablename__ = "revision"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    value: Mapped[int]


class Task(Base):
    """A task's public name. The row outlives the task's versions, so that no version number is used again."""

    __tablename__ = "tasks"

    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    next_version: Mapped[int]
    revision: Mapped[int] = mapped_column(
        index=True
    )  # of its last change; snapshots read again what is newer than they are
    weight: Mapped[float] = mapped_column(default=DEFAULT_WEIGHT)  # share of the engine's time, relative to other tasks


class Blob(Base):
    """The bytes of an adapter file, shared by all versions with that digest."""

    __tablename__ = "blobs"

    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)  # SHA-256 of `data`
    quarantined_at: Mapped[datetime | None]  # UTC; the time at which `data` was found not to hash to `digest`
    data: Mapped[bytes] = mapped_column(LargeBinary)  # last, so that SQLite can skip it


class Version(Base):
    """A published adapter. Never updated, except to repair a damaged row."""

    __tablename__ = "versions"
    __table_args__ = (Unique("task", "digest"),)

    task: Mapped[str] = mapped_column(NAME, ForeignKey("tasks.name"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[str] = mapped_column(DIGEST, ForeignKey("blobs.digest"), index=True)
    num_bytes: Mapped[int]
    created_at: Mapped[datetime]  # UTC without a zone, which SQLite does not store
    row_sha256: Mapped[str] = mapped_column(DIGEST)  # of all other columns; see the function row_sha256
    metadata_json: Mapped[str] = mapped_column(Text)  # as in the file; last, so that SQLite can skip it


def row_sha256(task: str, version: int, digest: str, num_bytes: int, created_at: datetime, metadata_json: str) -> str:
    """Return the checksum of a row of `versions`: a damaged label would mislead clients as damaged weights do."""
    values = [task, version, digest, num_bytes, created_at.isoformat(), metadata_json]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


class Alias(Base):
    """A movable name of a version."""

    __tablename__ = "aliases"
    __table_args__ = (ForeignKeyConstraint(["task", "version"], ["versions.task", "versions.version"]),)

    task: Mapped[str] = mapped_column(NAME, primary_key=True)
    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    version: Mapped[int]


class AliasHistory(Base):
    """A version that an alias pointed to before, oldest first: a stack that rollback pops. Deleted with its version."""

    __tablename__ = "alias_history"
    __table_args__ = (
        ForeignKeyConstraint(["task", "version"], ["versions.task", "versions.version"], ondelete="CASCADE"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    task: Mapped[str] = mapped_column(NAME, index=True)
    alias: Mapped[str] = mapped_column(NAME)
    version: Mapped[int]


class Key(Base):
    """A key of the API. Only the hash of its secret is stored; a revoked key stays listed."""

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
    """The audit log: one row for each change, never updated, without foreign keys, since it outlives its subjects."""

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
