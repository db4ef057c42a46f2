"""Checker: checks uploads in a process of its own, so that a slow or crashing check never affects predictions.

The process has its own copy of the backbone on the CPU in the server's dtype, one thread, and a low priority. Only that
process imports checks.py, and torch with it.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from adapters.backbone.files import BackboneSource
from adapters.config import BackboneIdentity
from service.core import CheckedUpload
from service.errors import CheckerUnavailable, UploadRefused
from service.observability.logs import to_stderr_at_once
from service.processes.child import begin, context
from service.settings import Settings

T = TypeVar("T")
NICE = 7  # 2 above the engine's threads: beside two of them on two cores it gets half a core, 0.67 with the same, 5


class Checker:
    """Checks one file at a time and replaces a process that crashes or exceeds the time limit."""

    def __init__(self, source: BackboneSource, dtype: str, settings: Settings) -> None:
        self._identity = source.identity
        self._backbone = (str(source.folder), dtype)
        self._settings, self._timeout_s = settings, settings.check_timeout_s
        self._one_at_a_time = asyncio.Lock()
        self._pool = self._make_pool()

    @property
    def pid(self) -> int:
        """The id of the current process, or 0 if there is none."""
        return next(iter(self._pool._processes or {}), 0)

    async def check(self, data: bytes | Path) -> CheckedUpload:
        """Run `check_upload` on the server's backbone; a file given by its path is returned without its bytes.

        Raises UploadRefused with a reason code, or CheckerUnavailable if the process does not start.
        """
        async with self._one_at_a_time:
            try:
                checked = await self._check(data)
            except TimeoutError:
                self._restart()
                raise UploadRefused("check_timeout", f"the check took longer than {self._timeout_s:g} s") from None
            except BrokenProcessPool:
                self._restart()
                raise UploadRefused("check_crashed", "the process that checked the file crashed") from None
        if isinstance(checked, UploadRefused):
            raise checked
        return checked if isinstance(data, Path) else replace(checked, data=data)

    def close(self) -> None:
        """Kill the process."""
        for process in list((self._pool._processes or {}).values()):
            process.kill()
        self._pool.shutdown()

    async def _check(self, data: bytes | Path) -> CheckedUpload | UploadRefused:
        if self._is_ready():
            with suppress(BrokenProcessPool):
                return await self._run(_check, data, self._identity)
            self._restart()  # it may have been killed just before: a new process shows whether the file ends it
        await self._wait_until_ready()
        return await self._run(_check, data, self._identity)

    def _is_ready(self) -> bool:
        """Whether the process has loaded the backbone and runs. A question to the process would wait for a core."""
        started = self._started.done() and self._started.exception() is None
        processes = list((self._pool._processes or {}).values())
        return started and bool(processes) and all(process.is_alive() for process in processes)

    async def _wait_until_ready(self) -> None:
        """Wait until the process has loaded the backbone; replace a process that has ended since the last upload."""
        for _ in range(2):
            try:
                return await self._run(_start)
            except (TimeoutError, BrokenProcessPool) as error:
                failure = error
                self._restart()
        message = "the process that checks uploads does not start: the server's log has the cause"
        raise CheckerUnavailable(message) from failure

    async def _run(self, function: Callable[..., T], *arguments: object) -> T:
        async with asyncio.timeout(self._timeout_s):
            return await asyncio.get_running_loop().run_in_executor(self._pool, function, *self._backbone, *arguments)

    def _restart(self) -> None:
        self.close()
        self._pool = self._make_pool()

    def _make_pool(self) -> ProcessPoolExecutor:
        pool = ProcessPoolExecutor(1, context(), initializer=_prepare, initargs=(self._settings,))
        self._started = pool.submit(_start, *self._backbone)  # the first upload does not wait for the start
        return pool


def _prepare(settings: Settings) -> None:
    begin("checker", NICE)
    to_stderr_at_once(settings)
    logging.getLogger("adapters").setLevel(logging.WARNING)  # the engine process has logged how it computes


def _start(folder: str, dtype: str) -> None:
    from service.publishing.checks import load_for_checks

    load_for_checks(folder, dtype)


def _check(folder: str, dtype: str, data: bytes | Path, identity: BackboneIdentity) -> CheckedUpload | UploadRefused:
    from service.publishing.checks import check_upload, load_for_checks

    content = data.read_bytes() if isinstance(data, Path) else data
    try:
        checked = check_upload(content, load_for_checks(folder, dtype), identity)
    except UploadRefused as error:
        return error
    return replace(checked, data=b"")  # the server has the file
