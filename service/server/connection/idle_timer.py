"""IdleTimer: a timer that is started and stopped with each request, and that costs the event loop nothing by that."""

import asyncio
from collections.abc import Callable

_ROUNDING_S = 0.001  # by which an event loop may call earlier: uvloop counts in milliseconds


class IdleTimer:
    """Calls `end` after the seconds given to `start`, unless `stop` comes before.

    A timer of the loop that is not needed any more is kept: when it expires, it is set to the time that counts then.
    So a connection with many requests sets one about once in the time for which it may be idle.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> None:
        self._loop, self._end = loop, end
        self.ends_at: float | None = None  # in seconds of the loop; None while it is stopped
        self._handle: asyncio.TimerHandle | None = None
        self._expires_at = 0.0  # of the handle

    def start(self, seconds: float) -> None:
        """Call `end` in so many seconds from now, whatever was set before."""
        self.ends_at = ends_at = self._loop.time() + seconds
        if self._handle is None:
            self._set(ends_at)
        elif ends_at < self._expires_at:
            self._handle.cancel()
            self._set(ends_at)

    def stop(self) -> None:
        """Do not call `end`."""
        self.ends_at = None

    def close(self) -> None:
        """Stop for good: nothing refers to the connection any more."""
        self.ends_at, self._end = None, lambda: None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _set(self, expires_at: float) -> None:
        self._expires_at = expires_at
        self._handle = self._loop.call_at(expires_at, self._expire)

    def _expire(self) -> None:
        self._handle = None
        if self.ends_at is None:
            return
        if self.ends_at > self._loop.time() + _ROUNDING_S:
            self._set(self.ends_at)
        else:
            self.ends_at = None
            self._end()
