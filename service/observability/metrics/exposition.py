"""Exposition of the metrics: a thread renders them at most once a second; compressed on request."""

import asyncio
import gzip
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

FRESH_S = 1.0  # for which a rendering is reused
_LEVEL = 1  # of gzip: a tenth of the size; higher levels take several times as long


class Exposition:
    """Renders metrics by `render(openmetrics)` in a thread of its own, so that slow database calls do not delay it."""

    def __init__(self, prepare: Callable[[], None], render: Callable[[bool], bytes]) -> None:
        """Call `prepare` on the event loop before each rendering."""
        self._prepare, self._render = prepare, render
        self._renderings: dict[tuple[bool, bool], tuple[float, asyncio.Task[bytes]]] = {}
        self._thread = ThreadPoolExecutor(1, "metrics")

    async def get(self, openmetrics: bool, compressed: bool) -> bytes:
        """Return a rendering in progress, or one that began at most `FRESH_S` ago, or else a new one."""
        key = openmetrics, compressed
        began, rendering = self._renderings.get(key, (0.0, None))
        if rendering is None or (rendering.done() and (_has_failed(rendering) or time.monotonic() - began >= FRESH_S)):
            make = self._compressed(openmetrics) if compressed else self._rendered(openmetrics)
            rendering = asyncio.create_task(make)
            self._renderings[key] = time.monotonic(), rendering
        return await asyncio.shield(rendering)  # a client that leaves does not cancel it for the others

    def close(self) -> None:
        """Stop the thread."""
        self._thread.shutdown(wait=False)

    async def _rendered(self, openmetrics: bool) -> bytes:
        self._prepare()
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._render, openmetrics)

    async def _compressed(self, openmetrics: bool) -> bytes:
        plain = await self.get(openmetrics, compressed=False)
        return await asyncio.get_running_loop().run_in_executor(self._thread, gzip.compress, plain, _LEVEL)


def _has_failed(rendering: asyncio.Task[bytes]) -> bool:
    return rendering.cancelled() or rendering.exception() is not None
