"""Turns: a lock that whoever has waited longest gets next."""

import threading
from collections import deque


class Turns:
    """Python's own locks go to whoever asks at the right moment: a thread that asks again and again starves others."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._is_taken = False
        self._waiting: deque[threading.Event] = deque()

    def take(self, timeout_s: float) -> bool:
        """Wait for it; False where `timeout_s` is over before."""
        with self._mutex:
            if not self._is_taken:
                self._is_taken = True
                return True
            called = threading.Event()
            self._waiting.append(called)
        if called.wait(min(timeout_s, threading.TIMEOUT_MAX)):
            return True
        with self._mutex:
            if called.is_set():  # at the last moment
                return True
            self._waiting.remove(called)
            return False

    def give(self) -> None:
        """Let the next one have it."""
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().set()  # it stays taken: nobody comes in between
            else:
                self._is_taken = False
