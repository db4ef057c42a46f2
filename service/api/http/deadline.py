"""Deadline: how long a prediction request is worth answering, by X-Request-Timeout-Ms and the client's connection."""

import asyncio
import re
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from starlette.types import Receive

from service.errors import ClientLeft, DeadlineExceeded, InvalidInput, ServiceError
from service.settings import Settings

TIMEOUT_HEADER = "X-Request-Timeout-Ms"
MAX_TIMEOUT_DIGITS = 15
_RAW_HEADER = TIMEOUT_HEADER.lower().encode()
_MILLISECONDS = re.compile(rb"[1-9][0-9]{0,%d}" % (MAX_TIMEOUT_DIGITS - 1))


def read_timeout_s(headers: Iterable[tuple[bytes, bytes]], settings: Settings) -> float:
    """Return the seconds in which to answer a request with these raw ASGI headers, counted from its arrival.

    The header X-Request-Timeout-Ms overrides the default; both are bounded by ADAKRON_MAX_REQUEST_TIMEOUT_S. Raises
    InvalidInput when the header is not a positive whole number.
    """
    for name, value in headers:
        if name == _RAW_HEADER:
            if not _MILLISECONDS.fullmatch(value):
                raise InvalidInput(f"{TIMEOUT_HEADER} must be a whole number of milliseconds from 1 on")
            return min(int(value) / 1000, settings.max_request_timeout_s)
    return min(settings.request_timeout_s, settings.max_request_timeout_s)


class Deadline:
    """The time `timeout_s` from now, or an earlier end: the client leaves, or the engine process refuses the request.

    `async with deadline:` cancels its block then, wherever it waits, and raises DeadlineExceeded, ClientLeft or the
    refusal. It is entered at most once. asyncio.timeout beside a task that waits for the client costs several times as
    much.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.at = time.monotonic() + timeout_s  # monotonic seconds
        self._task: asyncio.Task[Any] | None = None  # that runs the block
        self._num_cancels = 0  # of this task, before the block
        self._timer: asyncio.Handle | None = None  # of the next call that ends the block
        self._cause: ServiceError | None = None  # why it ends
        self._is_cancelled = False
        self._watched: Any = None  # the request of the connection
        self._watcher: asyncio.Task[None] | None = None

    def watch_client(self, receive: Receive) -> None:
        """Cancel the block when the client leaves. The body must have been read: this consumes `receive`."""
        self._watched = getattr(receive, "__self__", None)
        if hasattr(self._watched, "watch_client"):  # service.server.connection calls back
            self._watched.watch_client(self._leave)
        else:
            self._watched, self._watcher = None, asyncio.create_task(self._watch(receive))

    def end(self, cause: ServiceError) -> None:
        """Cancel the block now; it raises `cause`. Without effect before the block and after the time."""
        if self._cause is None and self._task is not None and self._timer is not None:
            self._cause = cause
            self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_soon(self._cancel)  # the block itself may be running

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        assert self._task is not None
        self._num_cancels = self._task.cancelling()
        self._timer = asyncio.get_running_loop().call_later(self.at - time.monotonic(), self._pass)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._timer is not None
        assert self._task is not None
        task, self._task = self._task, None
        self._timer.cancel()
        if self._watched is not None:
            self._watched.watch_client(None)
        if self._watcher is not None:
            self._watcher.cancel()
        if self._is_cancelled and task.uncancel() <= self._num_cancels and kind is asyncio.CancelledError:
            assert self._cause is not None
            raise self._cause from None

    def _pass(self) -> None:
        self.end(DeadlineExceeded(f"not answered within {self.timeout_s:g} s"))

    def _cancel(self) -> None:
        if self._task is not None:
            self._is_cancelled = True
            self._task.cancel()

    def _leave(self) -> None:
        self.end(ClientLeft("the client left before it was answered"))

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._leave()
