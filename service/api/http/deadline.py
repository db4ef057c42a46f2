"""Deadline: how long a prediction request is worth answering, by X-Request-Timeout-Ms and the client's connection."""

import asyncio
import re
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

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
    """The time `timeout_s` from now, or the moment that the client leaves or the request is refused.

    `async with deadline:` cancels its block then, wherever it waits, and raises DeadlineExceeded, ClientLeft or the
    refusal.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.at = time.monotonic() + timeout_s  # monotonic seconds
        self._timeout = asyncio.timeout(timeout_s)
        self._is_entered = False
        self._watcher: asyncio.Task[None] | None = None
        self._cause: ServiceError | None = None  # other than the time

    def watch_client(self, receive: Receive) -> None:
        """Cancel the block when the client leaves. The body must have been read: this consumes `receive`."""
        self._watcher = asyncio.create_task(self._watch(receive))

    def end(self, cause: ServiceError) -> None:
        """Cancel the block now; it raises `cause`. Without effect before the block and after the time."""
        if self._cause is None and self._is_entered and not self._timeout.expired():
            self._cause = cause
            self._timeout.reschedule(asyncio.get_running_loop().time())

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._is_entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            if self._cause is not None:
                raise self._cause from None
            raise DeadlineExceeded(f"not answered within {self.timeout_s:g} s") from None

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.end(ClientLeft("the client left before it was answered"))
