"""Checker: examines uploaded files in a process of its own, so that predictions neither wait for it nor fall with it.

The process has its own copy of the backbone on the CPU, in the type that is served, one thread, and a low priority.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import torch

from adapters import checkpoint
from adapters.adapter import Adapter
from adapters.backbone.source import BackboneSource, LoadedBackbone, load_backbone
from adapters.config import BackboneIdentity
from adapters.errors import CheckpointError
from adapters.serving.verification import verify
from service.errors import CheckerUnavailable, UploadRefused
from service.observability.logs import to_stderr_at_once
from service.processes.child import begin, context
from service.settings import Settings

T = TypeVar("T")
NICE = 10  # a tenth of the weight of the engine's threads where both want a core


@dataclass(frozen=True)
class Checked:
    """What a good file asks for."""

    num_parameters: int  # of the adapters, without the head
    num_outputs: int


@dataclass(frozen=True)
class _Refusal:
    reason: str
    message: str


class Checker:
    """One file at a time. A file that kills the process, or keeps it too long, is refused; the next finds a new one."""

    def __init__(self, source: BackboneSource, dtype: str, settings: Settings) -> None:
        self._identity = source.identity
        self._backbone = (str(source.folder), dtype)
        self._settings, self._timeout_s = settings, settings.check_timeout_s
        self._one_at_a_time = asyncio.Lock()
        self._pool = self._make_pool()

    @property
    def pid(self) -> int:
        """Of the process that there is now; 0, which none has, where there is none."""
        return next(iter(self._pool._processes or {}), 0)

    async def check(self, data: bytes) -> Checked:
        """Every check of `adapters.checkpoint.adapter_file` and `adapters.serving.verification`.

        Raises UploadRefused with its reason, or CheckerUnavailable where the process cannot even be started.
        """
        async with self._one_at_a_time:
            await self._be_ready()
            try:
                result = await self._run(_check, data, self._identity)
            except TimeoutError:
                self._restart()
                raise UploadRefused("check_timeout", f"its check took over {self._timeout_s:g} s") from None
            except BrokenProcessPool:
                self._restart()
                raise UploadRefused("check_crashed", "the process that checked it ended") from None
        if isinstance(result, _Refusal):
            raise UploadRefused(result.reason, result.message)
        return result

    def close(self) -> None:
        """End the process, whatever it is doing."""
        for process in list((self._pool._processes or {}).values()):
            process.kill()
        self._pool.shutdown()

    async def _be_ready(self) -> None:
        """Have a process that has the backbone; one that has ended since the last upload is replaced."""
        for _ in range(2):
            try:
                return await self._run(_start)
            except (TimeoutError, BrokenProcessPool) as error:
                failure = error
                self._restart()
        raise CheckerUnavailable("the process that checks uploads does not start: see the server's log") from failure

    async def _run(self, function: Callable[..., T], *arguments: object) -> T:
        async with asyncio.timeout(self._timeout_s):
            return await asyncio.get_running_loop().run_in_executor(self._pool, function, *self._backbone, *arguments)

    def _restart(self) -> None:
        self.close()
        self._pool = self._make_pool()

    def _make_pool(self) -> ProcessPoolExecutor:
        pool = ProcessPoolExecutor(1, context(), initializer=_prepare, initargs=(self._settings,))
        pool.submit(_start, *self._backbone)  # so that the first upload need not wait for it
        return pool


def examine(loaded: LoadedBackbone, identity: BackboneIdentity, data: bytes) -> Adapter:
    """Every check of an upload; `identity` is what the file must be made for. Raises CheckpointError."""
    adapter = checkpoint.parse(data, identity)
    verify(loaded, adapter)
    return adapter


def _prepare(settings: Settings) -> None:
    begin(NICE)
    to_stderr_at_once(settings)
    torch.set_num_threads(1)


@cache
def _load(folder: str, dtype: str) -> LoadedBackbone:
    loaded = load_backbone(folder, dtype=getattr(torch, dtype))
    loaded.backbone.pack()  # as it is served
    return loaded


def _start(folder: str, dtype: str) -> None:
    _load(folder, dtype)


def _check(folder: str, dtype: str, data: bytes, identity: BackboneIdentity) -> Checked | _Refusal:
    loaded = _load(folder, dtype)
    try:
        adapter = examine(loaded, identity, data)
    except CheckpointError as error:  # which does not survive pickling
        return _Refusal(error.reason, str(error))
    return Checked(adapter.metadata.num_parameters, adapter.metadata.task.num_outputs)
