"""The engine: SQLite or PostgreSQL by URL, how a transaction begins on each, and what its failures become."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from service.errors import InvalidInput, RegistryUnavailable

LOCK_TIMEOUT_S = 10  # how long a writer waits for another
POSTGRES_TIMEOUTS = {  # parameters of libpq; what the URL says goes before
    "connect_timeout": "2",  # seconds
    "tcp_user_timeout": "5000",  # milliseconds until a connection whose other end is gone counts as lost
    "keepalives_idle": "5",  # seconds
    "keepalives_interval": "2",
    "keepalives_count": "3",
}
PRAGMAS = (
    "journal_mode=DELETE",  # WAL with several connections can corrupt the file in SQLite 3.7.0 to 3.51.2
    "synchronous=FULL",
    "foreign_keys=ON",
)


def create_engine(url: str) -> Engine:
    """An engine for `url`; for SQLite the file is made too. Raises InvalidInput where the URL is none of ours."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidInput("the registry's URL cannot be read (sqlite:///... or postgresql+psycopg://...)") from error
    if parsed.get_backend_name() == "sqlite":
        return _create_sqlite(parsed)
    if parsed.drivername in ("postgresql", "postgresql+psycopg"):
        return sqlalchemy.create_engine(
            parsed.set(drivername="postgresql+psycopg", query=POSTGRES_TIMEOUTS | dict(parsed.query)),
            hide_parameters=True,  # no adapter bytes in error messages
            pool_pre_ping=True,
            pool_timeout=LOCK_TIMEOUT_S,
        )
    raise InvalidInput(f"the registry cannot use {parsed.drivername!r} (sqlite:///... or postgresql+psycopg://...)")


@contextmanager
def database_errors() -> Iterator[None]:
    """The one place where a failure of the database becomes RegistryUnavailable."""
    try:
        yield
    except DBAPIError as error:
        reason = (str(error.orig).strip().splitlines() or [type(error.orig).__name__])[0]
        raise RegistryUnavailable(f"the registry's database cannot be used: {reason}") from error
    except PoolTimeoutError as error:
        raise RegistryUnavailable("the registry's database cannot be used: every connection is busy") from error


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A read transaction: all its queries see the database at one moment."""
    options = {} if _is_sqlite(engine) else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with database_errors(), engine.connect() as connection:
        connection.execution_options(**options)
        with connection.begin():
            yield connection


@contextmanager
def locking(engine: Engine) -> Iterator[Connection]:
    """A transaction that may write. On SQLite no other can write until it ends; on PostgreSQL the caller locks."""
    with database_errors(), engine.connect() as connection:
        connection.execution_options(begin_immediate=True)
        with connection.begin():
            if not _is_sqlite(engine):
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
            yield connection


def _is_sqlite(engine: Engine) -> bool:
    return engine.dialect.name == "sqlite"


def _create_sqlite(url: URL) -> Engine:
    if not url.database or url.database.startswith((":", "file:")):
        raise InvalidInput("the registry's SQLite URL must name a file: sqlite:////absolute/path.sqlite3")
    path = Path(url.database)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise RegistryUnavailable(f"the registry's file {path} cannot be made: {error.strerror}") from error
    engine = sqlalchemy.create_engine(
        url, connect_args={"timeout": LOCK_TIMEOUT_S}, hide_parameters=True, pool_timeout=LOCK_TIMEOUT_S
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # Python sends no BEGIN of its own: _begin_sqlite does
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later fails where another wrote in between: take the lock at once.
    immediate = connection.get_execution_options().get("begin_immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
