"""Database: the engine behind a URL, its transactions, and the translation of its errors."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Connection, Engine, RootTransaction, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError

from service.errors import InvalidInput, RegistryUnavailable, ServiceError, StorageFull
from service.registry.deadline import call_deadline
from service.registry.models import Revision
from service.registry.postgres import create_postgres, limit_transaction, lock_writers
from service.registry.sqlite import create_sqlite, free_bytes, writer_lock

POSTGRES = "postgresql+psycopg"
POSTGRES_DISK_FULL = "53100"  # its error code
PAGE_BYTES = 4096  # a disk with less than this free is full
_POSTGRES_NAMES = ("postgres", "postgresql", POSTGRES)
_FORMS = "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"
_ESCAPES = "; in a user or a password write @ as %40, : as %3A, / as %2F, % as %25"


def parse_url(url: str) -> URL:
    """Parse a registry's URL; every name of PostgreSQL becomes that of its driver here.

    Raises InvalidInput, whose message holds no password, for any other database.
    """
    try:
        parsed = make_url(url.strip())
    except (ArgumentError, ValueError) as error:  # ValueError: the port is not a number
        raise InvalidInput(f"the registry's URL cannot be read ({_FORMS}{_ESCAPES})") from error
    if parsed.drivername in _POSTGRES_NAMES:
        if url.count("@") > 1:  # the rest of the password would become the host, which a failed connection shows
            raise InvalidInput(f"the registry's URL has several @ ({_FORMS}{_ESCAPES})")
        return parsed.set(drivername=POSTGRES)
    if parsed.get_backend_name() == "sqlite":
        return parsed
    raise InvalidInput(f"the registry cannot use {parsed.drivername!r} ({_FORMS})")


def create_engine(url: str) -> Engine:
    """Create an engine for `url`, and the file of a SQLite database. Raises InvalidInput for an unusable URL."""
    parsed = parse_url(url)
    return create_sqlite(parsed) if parsed.get_backend_name() == "sqlite" else create_postgres(parsed)


@contextmanager
def database_errors(engine: Engine) -> Iterator[None]:
    """Translate each database error inside into RegistryUnavailable or StorageFull. Nothing else translates them."""
    try:
        yield
    except DBAPIError as error:
        raise _translate(engine, error.orig) from error
    except ValueError as error:  # SQLAlchemy's, for a value that is not a valid text or time
        raise RegistryUnavailable(f"the registry's database is damaged, a value cannot be read: {error}") from error


@contextmanager
def reading(engine: Engine, timeout_s: float | None = None) -> Iterator[Connection]:
    """Open a read transaction: all its queries see the same state. It ends after `timeout_s` (None: CALL_TIMEOUT_S)."""
    options = {} if is_sqlite(engine) else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with call_deadline(timeout_s), database_errors(engine), engine.connect() as connection:
        connection.execution_options(**options)
        with connection.begin():
            yield connection


@contextmanager
def locking(engine: Engine, timeout_s: float | None = None) -> Iterator[Connection]:
    """Open a write transaction, rolled back after `timeout_s` (None: CALL_TIMEOUT_S).

    On SQLite it excludes other writers; on PostgreSQL only `exclusive` does.
    """
    with call_deadline(timeout_s), database_errors(engine), writer_lock(engine), engine.connect() as connection:
        connection.execution_options(begin_immediate=True)
        with connection.begin() as transaction:
            if not is_sqlite(engine):
                limit_transaction(connection)
            yield connection
            _commit(transaction)


@contextmanager
def exclusive(
    engine: Engine, timeout_s: float | None = None, *, pause: bool = False
) -> Iterator[tuple[Connection, int]]:
    """Open a write transaction that excludes all other writers; yield it and the registry's revision.

    With `pause` the caller sleeps afterwards for as long as it held the lock. A series of transactions then leaves
    half of the time to other processes: SQLite's lock has no queue, so a waiting process may never meet it free.
    """
    with locking(engine, timeout_s) as connection:
        if not is_sqlite(engine):
            lock_writers(connection)
        started = time.monotonic()
        yield connection, connection.execute(select(Revision.value).with_for_update()).scalar_one()
    if pause:
        time.sleep(time.monotonic() - started)


def is_sqlite(engine: Engine) -> bool:
    """Tell SQLite from PostgreSQL."""
    return engine.dialect.name == "sqlite"


def _commit(transaction: RootTransaction) -> None:
    try:
        transaction.commit()
    except DBAPIError as error:
        if not error.connection_invalidated:
            # When SQLite refuses a commit because of a lock, the transaction stays open: keep it out of the pool.
            transaction.connection.invalidate()
            raise
        raise RegistryUnavailable(
            "the connection to the registry's database was lost during a commit: the change may have been made; "
            "check before you repeat it"
        ) from error


def _translate(engine: Engine, error: BaseException | None) -> ServiceError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if is_sqlite(engine):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        # SQLite reports these codes for many causes; a full disk is one of them.
        unsure = code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
        full = code == sqlite3.SQLITE_FULL or (unsure and free_bytes(engine) < PAGE_BYTES)
    else:
        full = getattr(error, "sqlstate", None) == POSTGRES_DISK_FULL
    if full:
        return StorageFull(f"the disk of the registry's database is full; nothing was stored: {reason}")
    return RegistryUnavailable(f"the registry's database cannot be used: {reason}")
