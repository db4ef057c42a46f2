"""Listener: told by PostgreSQL of every change as it is committed, in a thread of its own.

It may miss one, where its connection is lost or the server falls silent: whoever uses it polls as well.
"""

import threading
from collections.abc import Callable

import psycopg

from service.registry.postgres import CHANNEL
from service.registry.time_limit import CALL_TIMEOUT_S, time_limit

STOP_POLL_S = 0.1  # between looks whether to stop


class Listener:
    """Calls `told` after each change, and once whenever it has begun to listen; `connect` may raise psycopg.Error."""

    def __init__(self, connect: Callable[[], psycopg.Connection], told: Callable[[], object], retry_s: float) -> None:
        self._connect, self._told, self._retry_s = connect, told, retry_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registry-listener", daemon=True)

    def start(self) -> None:
        """Begin; a database that is away is tried again every `retry_s` seconds."""
        self._thread.start()

    def stop(self) -> None:
        """When this returns `told` is not called any more; it takes CALL_TIMEOUT_S at most."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except psycopg.Error:  # not logged: the poll finds the same, and says so
                self._stopping.wait(self._retry_s)

    def _listen(self) -> None:
        with time_limit(CALL_TIMEOUT_S):
            connection = self._connect()
        try:
            with time_limit(CALL_TIMEOUT_S):
                connection.execute(f"LISTEN {CHANNEL}")
            self._told()  # of what was changed while nobody listened
            while not self._stopping.is_set():
                for _ in connection.notifies(timeout=STOP_POLL_S):
                    self._told()
        finally:
            connection.close()
