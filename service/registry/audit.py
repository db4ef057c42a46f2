"""The audit, read back: who changed what."""

from dataclasses import replace
from datetime import UTC

from sqlalchemy import Engine, select

from service.registry.database import reading
from service.registry.models import Audit, AuditRow


def read_audit(engine: Engine, limit: int, before: int | None, task: str | None) -> list[AuditRow]:
    """The last `limit` changes, newest first: of those with a smaller id than `before`, of one `task`."""
    query = select(Audit.__table__).order_by(Audit.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Audit.id < before)
    if task is not None:
        query = query.where(Audit.task == task)
    with reading(engine) as connection:
        rows = [AuditRow(**row) for row in connection.execute(query).mappings()]
    return [replace(row, at=row.at.replace(tzinfo=UTC)) for row in rows]
