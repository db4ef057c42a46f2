"""Listener: a thread that PostgreSQL notifies of each committed change.

It may miss a change when its connection is lost or the server is silent, so its user polls as well.
"""

import threading
from collections.abc import Callable

import psycopg

from service.registry.deadline import call_deadline
from service.registry.postgres import CHANNEL

STOP_POLL_S = 0.1  # between checks whether to stop


class Listener:
    """Calls `on_change` after each change and whenever it begins to listen; `connect` may raise psycopg.Error."""

    def __init__(
        self, connect: Callable[[], psycopg.Connection], on_change: Callable[[], object], retry_s: float
    ) -> None:
        self._connect, self._on_change, self._retry_s = connect, on_change, retry_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registry-listener", daemon=True)

    def start(self) -> None:
        """Start the thread; it retries every `retry_s` seconds while the database is unavailable."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, within CALL_TIMEOUT_S; `on_change` is not called afterwards."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except psycopg.Error:  # not logged: the poll finds the same error and logs it
                self._stopping.wait(self._retry_s)

    def _listen(self) -> None:
        with call_deadline():
            connection = self._connect()
        try:
            with call_deadline():
                connection.execute(f"LISTEN {CHANNEL}")
            self._on_change()  # for changes made before it listened
            while not self._stopping.is_set():
                for _ in connection.notifies(timeout=STOP_POLL_S):
                    self._on_change()
        finally:
            connection.close()
