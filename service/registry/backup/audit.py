"""Copy the audit log. It only grows, so it is copied ahead, a few rows at a time, and no writer waits for it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, cast

from sqlalchemy import Connection, Engine, Row, Table, func, insert, select

from service.registry.backup.file import BackupWriter
from service.registry.backup.transactions import in_turn, looking
from service.registry.models import Audit

AUDIT = cast(Table, Audit.__table__)
CHUNK = 1000  # rows of one transaction

Rows = Sequence[Row[Any]]
Log = Counter[tuple[Any, ...]]  # how often it has a row that says this


def copy_audit_ahead(engine: Engine, file: BackupWriter) -> int:
    """Copy the log into a backup; the number of the last row."""
    last = 0
    for rows in _read_ahead(engine):
        file.insert(AUDIT, [dict(row._mapping) for row in rows])
        last = rows[-1].id
    return last


def audit_after(connection: Connection, last: int, limit: int | None = None) -> Rows:
    """The rows after number `last`, oldest first. Writers come one after another, so none comes in later."""
    return connection.execute(select(AUDIT).where(AUDIT.c.id > last).order_by(AUDIT.c.id).limit(limit)).all()


def merge_audit(engine: Engine, backup: Connection) -> None:
    """Add what the log of a backup has and this one has not, behind what is there."""
    log, last = Log(), 0
    for rows in _read_ahead(engine):
        log.update(_says(row) for row in rows)
        last = rows[-1].id
    past = 0
    while rows := audit_after(backup, past, CHUNK):
        past = rows[-1].id
        if missing := _not_in(log, rows):
            with in_turn(engine) as connection:
                log.update(_says(row) for row in audit_after(connection, last))  # another restore may run
                if missing := _not_in(log, missing):
                    names = [column.name for column in AUDIT.columns][1:]
                    connection.execute(insert(AUDIT), [dict(zip(names, _says(row), strict=True)) for row in missing])
                last = connection.execute(select(func.max(AUDIT.c.id))).scalar_one()


def _read_ahead(engine: Engine) -> Iterator[Rows]:
    last = 0
    while True:
        with looking(engine) as connection:
            rows = audit_after(connection, last, CHUNK)
        if not rows:
            return
        yield rows
        last = rows[-1].id


def _says(row: Row[Any]) -> tuple[Any, ...]:
    """All but the number."""
    return tuple(row)[1:]


def _not_in(log: Log, rows: Rows) -> Rows:
    """Those of `rows` that `log` has not; those that it has are taken from it, so that twice counts twice."""
    missing = []
    for row in rows:
        if log[_says(row)] > 0:
            log[_says(row)] -= 1
        else:
            missing.append(row)
    return missing
