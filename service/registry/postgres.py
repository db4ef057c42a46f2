"""PostgreSQL: an engine whose connections give up at the call's deadline, even if the server is silent."""

import math
from collections.abc import Generator
from typing import Any

import psycopg
import sqlalchemy
from psycopg.rows import TupleRow
from sqlalchemy import URL, Connection, Engine, event, func, select

from service.registry.deadline import time_left

CHANNEL = "adakron_registry"  # every write is announced here
WRITERS_LOCK = 0x61646B72_77726974  # "adkrwrit": an advisory lock, which no other program uses in this database
PARAMETERS = {  # of libpq; those in the URL take precedence
    "connect_timeout": "2",  # seconds, of one address
    "tcp_user_timeout": "5000",  # milliseconds until an unacknowledged connection counts as lost
    "keepalives_idle": "5",  # seconds
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "client_encoding": "utf8",  # psycopg reads the text of a SQL_ASCII server as bytes
}


class LimitedConnection(psycopg.Connection[TupleRow]):
    """A connection that closes itself and raises ConnectionTimeout if `time_left` reaches 0 while it waits.

    A stopped server still acknowledges what it is sent, so no option of TCP would notice. The look-up of a host name
    is not limited: it takes as long as the system's resolver takes.

    It overrides psycopg's `wait` and `_connect_gen`, which are not documented: tests/service/registry/test_internals.py
    says what it relies on.
    """

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **options: Any) -> Any:
        """Run `gen`, as every method that needs the server does."""
        try:
            return super().wait(_limited(gen), *args, **options)
        except psycopg.errors.ConnectionTimeout:
            self.close()
            raise

    @classmethod
    def _connect_gen(cls, *args: Any, **options: Any) -> Generator[Any, Any, Any]:
        # psycopg has no public hook for this, and rounds its own timeout up to 2 s for each address.
        return _limited(super()._connect_gen(*args, **options))


def create_postgres(url: URL) -> Engine:
    """Create an engine for `url`, which connects when it is first used."""
    engine = sqlalchemy.create_engine(
        url.set(query=PARAMETERS | dict(url.query)),
        hide_parameters=True,  # no adapter bytes in error messages
        pool_pre_ping=True,
        max_overflow=-1,  # no thread waits for a connection; the calling threads are few
        use_native_hstore=False,
        connect_args={"prepare_threshold": None},  # a pooler may run each transaction in another server session
    )
    event.listen(engine, "do_connect", lambda _dialect, _record, args, options: _connect(*args, **options))
    return engine


def connect_alone(engine: Engine) -> LimitedConnection:
    """Open a connection outside the pool, in autocommit; the caller closes it. Raises psycopg.Error."""
    args, options = engine.dialect.create_connect_args(engine.url)
    return _connect(*args, **options, autocommit=True)


def limit_transaction(connection: Connection) -> None:
    """Make the server end this transaction after `time_left`, so that a dead client leaves no lock behind."""
    milliseconds = "0" if time_left() == math.inf else f"{1 + time_left() * 1000:.0f}"
    names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    connection.execute(select(*(func.set_config(name, milliseconds, True) for name in names)))


def lock_writers(connection: Connection) -> None:
    """Exclude other writers until this transaction ends, first come, first served.

    Waiting for a row is not fair: each update creates a new row version, and goes to the first that asks for it.
    """
    connection.execute(select(func.pg_advisory_xact_lock(WRITERS_LOCK)))


def notify(connection: Connection) -> None:
    """Announce a change to every Listener when this transaction commits."""
    connection.execute(select(func.pg_notify(CHANNEL, "")))


def _connect(*args: Any, **options: Any) -> LimitedConnection:
    return LimitedConnection.connect(*args, **options)


def _limited(steps: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Run `steps`, which yields whenever it has to wait; raise ConnectionTimeout at the deadline."""
    try:
        ready = None
        while True:
            if not time_left():
                raise psycopg.errors.ConnectionTimeout("it did not answer in time")
            ready = yield steps.send(ready)
    except StopIteration as end:
        return end.value
    finally:
        steps.close()
