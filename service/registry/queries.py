"""Single reads: an adapter's bytes and metadata, keys, the audit log."""

import hashlib
import logging
from dataclasses import replace
from datetime import UTC
from typing import Any, cast

from sqlalchemy import Connection, Engine, Row, select

from adapters.adapter import AdapterMetadata
from service.core import ApiKey, Scope
from service.errors import AdapterUnavailable, ServiceError, UnknownVersion
from service.registry.database import reading
from service.registry.deadline import call_deadline
from service.registry.models import Audit, Blob, Key, Version
from service.registry.values import AuditRow
from service.registry.write import writing

QUARANTINE_ACTOR = "registry"  # in the audit log

logger = logging.getLogger(__name__)


def read_bytes(engine: Engine, digest: str) -> bytes:
    """Read the adapter file of `digest` and hash it again; damaged bytes are put into quarantine.

    Raises AdapterUnavailable if the file is damaged, in quarantine or deleted.
    """
    with call_deadline():
        with reading(engine) as connection:
            row = connection.execute(select(Blob.data, Blob.quarantined_at).where(Blob.digest == digest)).first()
        if row is None:
            raise AdapterUnavailable(f"adapter {digest[:12]} is no longer in the registry")
        if row.quarantined_at is None:
            if hashlib.sha256(row.data).hexdigest() == digest:
                return bytes(row.data)
            _quarantine(engine, digest)
    raise AdapterUnavailable(f"adapter {digest[:12]} is damaged in the registry: publish its file again")


def read_metadata(connection: Connection, task: str, version: int) -> AdapterMetadata:
    """Read the metadata in the adapter file of a version. Raises UnknownVersion."""
    query = select(Version.metadata_json).where(Version.task == task, Version.version == version)
    text = connection.execute(query).scalar_one_or_none()
    if text is None:
        raise UnknownVersion(f"task {task!r} has no version {version}")
    return AdapterMetadata.model_validate_json(text)


def read_key(connection: Connection, key_id: str) -> ApiKey | None:
    """Read one key."""
    row = connection.execute(select(Key.__table__).where(Key.id == key_id)).first()
    return None if row is None else _api_key(row)


def read_keys(connection: Connection, after: int) -> list[ApiKey]:
    """Read the keys created or revoked since revision `after`."""
    return [_api_key(row) for row in connection.execute(select(Key.__table__).where(Key.revision > after))]


def read_audit(engine: Engine, limit: int, before: int | None, task: str | None) -> list[AuditRow]:
    """Read the last `limit` changes, newest first; only those with an id under `before`, only those of `task`."""
    query = select(Audit.__table__).order_by(Audit.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Audit.id < before)
    if task is not None:
        query = query.where(Audit.task == task)
    with reading(engine) as connection:
        rows = [AuditRow(**row) for row in connection.execute(query).mappings()]
    return [replace(row, at=row.at.replace(tzinfo=UTC)) for row in rows]


def _quarantine(engine: Engine, digest: str) -> None:
    try:
        with writing(engine, QUARANTINE_ACTOR, "") as write:
            # Hashed once more there: the file may have been repaired, or another process may have been faster.
            found = write.quarantine(digest)
    except ServiceError as error:
        logger.error("adapter %s is damaged in the registry, and cannot be put into quarantine: %s", digest, error)
    else:
        if found:
            logger.error("adapter %s is damaged in the registry, and in quarantine until it is published again", digest)


def _api_key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        scopes=frozenset(cast("list[Scope]", row.scopes.split())),
        tasks=frozenset(row.tasks.split()),
        secret_sha256=row.secret_sha256,
        created_at=row.created_at.replace(tzinfo=UTC),
        revoked_at=row.revoked_at and row.revoked_at.replace(tzinfo=UTC),
    )
