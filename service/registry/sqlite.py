"""SQLite: an engine that creates its file, queues its writers, waits for locks in time, and keeps a reserve of disk."""

import os
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, event

from service.errors import InvalidInput, RegistryUnavailable, StorageFull
from service.registry.deadline import CALL_TIMEOUT_S, time_left

PRAGMAS = (
    "synchronous=FULL",
    "foreign_keys=ON",
    "secure_delete=OFF",  # otherwise a deletion needs as much room in the journal as it frees in the file
)
RESERVE_BYTES = 1024 * 1024  # a publication leaves this free, so that aliases, deletions and revocations still work
MAX_BUSY_MS = 2**31 - 1


class FairLock:
    """A lock that goes to the thread that has waited longest.

    Python's own locks go to any thread that asks at the right moment, so a thread in a loop starves the others.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._is_taken = False
        self._waiting: deque[threading.Event] = deque()

    def acquire(self, timeout_s: float) -> bool:
        """Wait for the lock; return False if it is not free within `timeout_s`."""
        with self._mutex:
            if not self._is_taken:
                self._is_taken = True
                return True
            handed_over = threading.Event()
            self._waiting.append(handed_over)
        if handed_over.wait(min(timeout_s, threading.TIMEOUT_MAX)):
            return True
        with self._mutex:
            if handed_over.is_set():  # after the timeout, before the mutex
                return True
            self._waiting.remove(handed_over)
            return False

    def release(self) -> None:
        """Hand the lock to the next waiting thread."""
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().set()  # the lock stays taken, so no other thread comes in between
            else:
                self._is_taken = False


def file_of(url: URL) -> Path:
    """Return the file that a SQLite URL names. Raises InvalidInput if it names none."""
    if not url.database or url.database.startswith((":", "file:")):
        raise InvalidInput("the registry's SQLite URL must name a file: sqlite:////absolute/path.sqlite3")
    return Path(url.database)


def create_sqlite(url: URL) -> Engine:
    """Create an engine for `url`, and its file if it is missing. Raises InvalidInput, RegistryUnavailable."""
    path = file_of(url)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise RegistryUnavailable(f"the registry's file {path} cannot be created: {error.strerror}") from error
    engine = sqlalchemy.create_engine(
        url,
        connect_args={"timeout": CALL_TIMEOUT_S},
        hide_parameters=True,  # no adapter bytes in error messages
        max_overflow=-1,  # no thread waits for a connection; the calling threads are few
        execution_options={"writer_lock": FairLock()},
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "commit", _limit_wait)
    return engine


@contextmanager
def writer_lock(engine: Engine) -> Iterator[None]:
    """Admit one writer of this process at a time, in order: SQLite's own lock has no queue and starves some under load.

    A thread that does not get the lock in time goes on without it and fails at SQLite's own lock. Engines that
    `create_sqlite` did not create have no such lock.
    """
    lock: FairLock = engine.get_execution_options().get("writer_lock") or FairLock()
    acquired = lock.acquire(time_left())
    try:
        yield
    finally:
        if acquired:
            lock.release()


def require_room(connection: Connection, num_bytes: int) -> None:
    """Raise StorageFull if `num_bytes` more would leave less than RESERVE_BYTES free on the file's disk."""
    free_pages, page_bytes = (
        connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("freelist_count", "page_size")
    )
    growth = num_bytes + num_bytes // 64 + 16 * page_bytes - free_pages * page_bytes
    if growth > 0 and free_bytes(connection.engine) - growth < RESERVE_BYTES:
        raise StorageFull(
            f"the registry's disk has no room for {num_bytes} more bytes: delete versions, or free space on the disk"
        )


def free_bytes(engine: Engine) -> int:
    """Return the bytes that are free on the disk of the engine's file."""
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
    # A transaction that reads first and writes later fails if another one wrote in between: take the lock at once.
    immediate = connection.get_execution_options().get("begin_immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _limit_wait(connection: Connection) -> None:
    milliseconds = min(time_left() * 1000, MAX_BUSY_MS)
    connection.exec_driver_sql(f"PRAGMA busy_timeout={milliseconds:.0f}")
