"""Patience: how long a request is worth an answer: until its time is over, or its client leaves."""

import asyncio
from types import TracebackType
from typing import Self

from starlette.types import Receive

from service.errors import ClientLeft, DeadlineExceeded


class Patience:
    """`async with Patience(seconds):` cancels what is inside, wherever it waits, and raises DeadlineExceeded or
    ClientLeft."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(seconds)
        self._watcher: asyncio.Task[None] | None = None
        self._client_left = False

    def watch(self, receive: Receive) -> None:
        """From now on, notice that the client leaves. `receive` is nobody else's: the body must have been read."""
        self._watcher = asyncio.create_task(self._watch(receive))

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            if self._client_left:
                raise ClientLeft("the client left before it was answered") from None
            raise DeadlineExceeded(f"not answered within {self._seconds:g} s") from None

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not self._timeout.expired():
            self._client_left = True
            self._timeout.reschedule(asyncio.get_running_loop().time())
