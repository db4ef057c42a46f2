"""The transactions of a backup and a restore: many short ones in place of a long one, with room for others between."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy import Connection, Engine

from service.registry.database import locking, reading, take_revision

TIMEOUT_S = 300.0  # of one transaction: nobody waits for its answer


def looking(engine: Engine) -> AbstractContextManager[Connection]:
    """A transaction that reads."""
    return reading(engine, TIMEOUT_S)


@contextmanager
def alone(engine: Engine) -> Iterator[tuple[Connection, int]]:
    """A transaction that no other writer is beside, and the registry's revision in it."""
    with locking(engine, TIMEOUT_S) as connection:
        yield connection, take_revision(connection)


@contextmanager
def in_turn(engine: Engine) -> Iterator[Connection]:
    """The same for one of many: afterwards the lock is left to others for as long as it was held.

    SQLite has no queue for those who wait: they look again every now and then.
    """
    with alone(engine) as (connection, _):
        started = time.monotonic()
        yield connection
    time.sleep(time.monotonic() - started)
