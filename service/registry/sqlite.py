"""SQLite: an engine that makes its file, waits for locks no longer than the call may take, and keeps a reserve."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, event

from service.errors import InvalidInput, RegistryUnavailable, StorageFull
from service.registry.time_limit import CALL_TIMEOUT_S, time_left
from service.registry.turns import Turns

PRAGMAS = (
    "synchronous=FULL",
    "foreign_keys=ON",
    "secure_delete=OFF",  # else a deletion needs as much room in the journal as it frees in the file
)
RESERVE_BYTES = 1024 * 1024  # a publication leaves this free: aliases, deletions and revocations work on
MAX_BUSY_MS = 2**31 - 1


def file_of(url: URL) -> Path:
    """The file that a SQLite URL names. Raises InvalidInput where it names none."""
    if not url.database or url.database.startswith((":", "file:")):
        raise InvalidInput("the registry's SQLite URL must name a file: sqlite:////absolute/path.sqlite3")
    return Path(url.database)


def create_sqlite(url: URL) -> Engine:
    """An engine for `url`; the file is made if need be. Raises InvalidInput, RegistryUnavailable."""
    path = file_of(url)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise RegistryUnavailable(f"the registry's file {path} cannot be made: {error.strerror}") from error
    engine = sqlalchemy.create_engine(
        url,
        connect_args={"timeout": CALL_TIMEOUT_S},
        hide_parameters=True,  # no adapter bytes in error messages
        max_overflow=-1,  # nobody waits for a connection; the threads that call are few
        execution_options={"turns": Turns()},
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "commit", _limit_wait)
    return engine


@contextmanager
def turn(engine: Engine) -> Iterator[None]:
    """Held by one writer of this process at a time: SQLite itself has no queue, and some would starve under load.

    Who does not get it in time goes on without, and fails at SQLite's own lock. Engines not made here need none.
    """
    turns: Turns = engine.get_execution_options().get("turns") or Turns()
    taken = turns.take(time_left())
    try:
        yield
    finally:
        if taken:
            turns.give()


def require_room(connection: Connection, num_bytes: int) -> None:
    """Raise StorageFull where `num_bytes` more would leave less than RESERVE_BYTES free on the file's disk."""
    free_pages, page_bytes = (
        connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("freelist_count", "page_size")
    )
    growth = num_bytes + num_bytes // 64 + 16 * page_bytes - free_pages * page_bytes
    if growth > 0 and free_bytes(connection.engine) - growth < RESERVE_BYTES:
        raise StorageFull(
            f"the registry's disk has no room for {num_bytes} bytes more: delete versions, or make room on the disk"
        )


def free_bytes(engine: Engine) -> int:
    """What is free on the disk that the engine's file is on."""
    disk = os.statvfs(file_of(engine.url).parent)
    return disk.f_bavail * disk.f_frsize


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # Python sends no BEGIN of its own: _begin does
    # A write-ahead log used by several connections can corrupt the file in SQLite 3.7.0 to 3.51.2.
    mode = connection.execute("PRAGMA journal_mode=DELETE").fetchone()[0]
    if mode != "delete":
        raise sqlite3.OperationalError(f"its journal mode is {mode}, and another program keeps it so")
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    _limit_wait(connection)
    # A transaction that reads first and writes later fails where another wrote in between: take the lock at once.
    immediate = connection.get_execution_options().get("begin_immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _limit_wait(connection: Connection) -> None:
    milliseconds = min(time_left() * 1000, MAX_BUSY_MS)
    connection.exec_driver_sql(f"PRAGMA busy_timeout={milliseconds:.0f}")
