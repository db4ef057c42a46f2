"""PostgreSQL: an engine whose connections give up when the call's time is over, however silent the server is."""

import math
from collections.abc import Generator
from typing import Any

import psycopg
import sqlalchemy
from psycopg.rows import TupleRow
from sqlalchemy import URL, Connection, Engine, event, func, select

from service.registry.time_limit import time_left

CHANNEL = "adakron_registry"  # where every write is told
WRITERS_LOCK = 0x61646B72_77726974  # "adkrwrit": an advisory lock, which no other program uses in this database
PARAMETERS = {  # of libpq; what the URL says goes before
    "connect_timeout": "2",  # seconds, of one address
    "tcp_user_timeout": "5000",  # milliseconds until a connection whose other end is gone counts as lost
    "keepalives_idle": "5",  # seconds
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "client_encoding": "utf8",  # a server whose encoding is SQL_ASCII would have its text read as bytes
}


class LimitedConnection(psycopg.Connection[TupleRow]):
    """A connection that is closed, and raises ConnectionTimeout, when `time_left` is 0 while it waits.

    A server that is stopped still acknowledges what it is sent, so no option of TCP would notice. Only the look-up of
    a host's name is beyond this: it takes as long as the system's resolver takes.
    """

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **options: Any) -> Any:
        """Every method that needs the server comes through here."""
        try:
            return super().wait(_limited(gen), *args, **options)
        except psycopg.errors.ConnectionTimeout:
            self.close()
            raise

    @classmethod
    def _connect_gen(cls, *args: Any, **options: Any) -> Generator[Any, Any, Any]:
        # psycopg has no public place for this, and rounds its own timeout up to 2 s for each address.
        return _limited(super()._connect_gen(*args, **options))


def create_postgres(url: URL) -> Engine:
    """An engine for `url`, which connects when it is first used."""
    engine = sqlalchemy.create_engine(
        url.set(query=PARAMETERS | dict(url.query)),
        hide_parameters=True,  # no adapter bytes in error messages
        pool_pre_ping=True,
        max_overflow=-1,  # nobody waits for a connection; the threads that call are few
        use_native_hstore=False,
        connect_args={"prepare_threshold": None},  # a pooler gives each transaction another session of the server
    )
    event.listen(engine, "do_connect", lambda _dialect, _record, args, options: _connect(*args, **options))
    return engine


def connect_alone(engine: Engine) -> LimitedConnection:
    """A connection outside the pool, in autocommit; the caller closes it. Raises psycopg.Error."""
    args, options = engine.dialect.create_connect_args(engine.url)
    return _connect(*args, **options, autocommit=True)


def limit_transaction(connection: Connection) -> None:
    """Let the server, too, end this transaction after `time_left`: its client may die and leave it locked."""
    milliseconds = "0" if time_left() == math.inf else f"{1 + time_left() * 1000:.0f}"
    names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    connection.execute(select(*(func.set_config(name, milliseconds, True) for name in names)))


def wait_for_turn(connection: Connection) -> None:
    """Until this transaction ends it is the one that writes: first come, first served.

    Those who wait for a row have no such order: a change makes a new row of it, and who asks for that first has it.
    """
    connection.execute(select(func.pg_advisory_xact_lock(WRITERS_LOCK)))


def notify(connection: Connection) -> None:
    """Tell every Listener, when this transaction is committed."""
    connection.execute(select(func.pg_notify(CHANNEL, "")))


def _connect(*args: Any, **options: Any) -> LimitedConnection:
    return LimitedConnection.connect(*args, **options)


def _limited(steps: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """`steps`, which yields whenever it has to wait, as long as there is time."""
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
