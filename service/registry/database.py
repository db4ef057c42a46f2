"""The engine by URL, how a transaction begins and ends on it, and what its failures become."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, RootTransaction, select
from sqlalchemy.exc import DBAPIError

from service.errors import RegistryUnavailable, ServiceError, StorageFull
from service.registry.models import Revision
from service.registry.postgres import create_postgres, limit_transaction, wait_for_turn
from service.registry.sqlite import create_sqlite, free_bytes, turn
from service.registry.time_limit import CALL_TIMEOUT_S, time_limit
from service.registry.url import parse_url

POSTGRES_DISK_FULL = "53100"
PAGE_BYTES = 4096  # less than this free is a full disk


def create_engine(url: str) -> Engine:
    """An engine for `url`; for SQLite the file is made too. Raises InvalidInput where the URL is none of ours."""
    parsed = parse_url(url)
    return create_sqlite(parsed) if parsed.get_backend_name() == "sqlite" else create_postgres(parsed)


@contextmanager
def database_errors(engine: Engine) -> Iterator[None]:
    """The one place where a failure of the database becomes RegistryUnavailable, or StorageFull."""
    try:
        yield
    except DBAPIError as error:
        raise _translate(engine, error.orig) from error
    except ValueError as error:  # of a value that is no text, or no time
        raise RegistryUnavailable(f"the registry's database is damaged, a value cannot be read: {error}") from error


@contextmanager
def reading(engine: Engine, timeout_s: float | None = CALL_TIMEOUT_S) -> Iterator[Connection]:
    """A read transaction: all its queries see the database at one moment. It ends after `timeout_s` (None: never)."""
    options = {} if is_sqlite(engine) else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with time_limit(timeout_s), database_errors(engine), engine.connect() as connection:
        connection.execution_options(**options)
        with connection.begin():
            yield connection


@contextmanager
def locking(engine: Engine, timeout_s: float | None = CALL_TIMEOUT_S) -> Iterator[Connection]:
    """A transaction that may write, given up after `timeout_s` (None: never).

    On SQLite no other can write until it ends; on PostgreSQL the caller locks (`take_revision`).
    """
    with time_limit(timeout_s), database_errors(engine), turn(engine), engine.connect() as connection:
        connection.execution_options(begin_immediate=True)
        with connection.begin() as transaction:
            if not is_sqlite(engine):
                limit_transaction(connection)
            yield connection
            _commit(transaction)


def take_revision(connection: Connection) -> int:
    """The registry's revision; nobody else has it until this transaction of `locking` ends."""
    if not is_sqlite(connection.engine):
        wait_for_turn(connection)
    return connection.execute(select(Revision.value).with_for_update()).scalar_one()


def is_sqlite(engine: Engine) -> bool:
    """Else it is PostgreSQL."""
    return engine.dialect.name == "sqlite"


def _commit(transaction: RootTransaction) -> None:
    try:
        transaction.commit()
    except DBAPIError as error:
        if not error.connection_invalidated:
            # A commit that SQLite refuses for a lock leaves its transaction open: the pool must not have it back.
            transaction.connection.invalidate()
            raise
        raise RegistryUnavailable(
            "the registry's database was lost while a change was being stored: it may have been made; "
            "look before you ask again"
        ) from error


def _translate(engine: Engine, error: BaseException | None) -> ServiceError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if is_sqlite(engine):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        # Where a file cannot be made or synced for want of room, SQLite does not say that this is why.
        unsure = code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
        full = code == sqlite3.SQLITE_FULL or (unsure and free_bytes(engine) < PAGE_BYTES)
    else:
        full = getattr(error, "sqlstate", None) == POSTGRES_DISK_FULL
    if full:
        return StorageFull(f"the disk of the registry's database is full; nothing was stored: {reason}")
    return RegistryUnavailable(f"the registry's database cannot be used: {reason}")
