"""Copy and merge audit logs. A log only grows, so it is copied ahead in short transactions that block no writer."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, cast

from sqlalchemy import Connection, Engine, Row, Table, func, insert, select

from service.registry.backup.file import TRANSACTION_TIMEOUT_S, BackupWriter
from service.registry.database import exclusive, reading
from service.registry.models import Audit

AUDIT = cast(Table, Audit.__table__)
CHUNK = 1000  # rows of one transaction

Rows = Sequence[Row[Any]]
Content = tuple[Any, ...]  # the columns of a row without its id


def copy_audit_ahead(engine: Engine, file: BackupWriter) -> int:
    """Copy the log into a backup; return the id of the last row."""
    last = 0
    for rows in _read_chunks(engine):
        file.insert(AUDIT, [dict(row._mapping) for row in rows])
        last = rows[-1].id
    return last


def audit_after(connection: Connection, last: int, limit: int | None = None) -> Rows:
    """Read the rows with an id over `last`, oldest first. Ids only rise, since writers exclude each other."""
    return connection.execute(select(AUDIT).where(AUDIT.c.id > last).order_by(AUDIT.c.id).limit(limit)).all()


def merge_audit(engine: Engine, backup: Connection) -> None:
    """Append the rows of a backup's log that the registry's log lacks."""
    log, last = Counter[Content](), 0
    for rows in _read_chunks(engine):
        log.update(_content(row) for row in rows)
        last = rows[-1].id
    last_merged = 0
    while rows := audit_after(backup, last_merged, CHUNK):
        last_merged = rows[-1].id
        if missing := _missing(log, rows):
            with exclusive(engine, TRANSACTION_TIMEOUT_S, pause=True) as (connection, _):
                log.update(_content(row) for row in audit_after(connection, last))  # another restore may be running
                if missing := _missing(log, missing):
                    names = [column.name for column in AUDIT.columns][1:]
                    values = [dict(zip(names, _content(row), strict=True)) for row in missing]
                    connection.execute(insert(AUDIT), values)
                last = connection.execute(select(func.max(AUDIT.c.id))).scalar_one()


def _read_chunks(engine: Engine) -> Iterator[Rows]:
    last = 0
    while True:
        with reading(engine, TRANSACTION_TIMEOUT_S) as connection:
            rows = audit_after(connection, last, CHUNK)
        if not rows:
            return
        yield rows
        last = rows[-1].id


def _content(row: Row[Any]) -> Content:
    return tuple(row)[1:]


def _missing(log: Counter[Content], rows: Rows) -> Rows:
    """Return those of `rows` that are not in `log`; remove the others from it, so that duplicates count."""
    missing = []
    for row in rows:
        if log[_content(row)] > 0:
            log[_content(row)] -= 1
        else:
            missing.append(row)
    return missing
