"""An EngineWorker in a process of its own: what HTTP does in Python never holds up the engine's threads, nor they it.

The two processes exchange pickled messages over a socket pair: (number, method, arguments) one way, (number, result)
back. Messages are taken in the order in which they were sent.
"""

import asyncio
import gc
import itertools
import logging
import socket
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, Self

import numpy as np
import torch

from adapters.errors import AdapterError, BackboneError
from adapters.serving.bank import slot_bytes
from service.core import BatchTokens
from service.engine.worker import EngineWorker, load_for
from service.errors import EngineLost, InferenceFailed, ServiceError
from service.observability.logs import to_stderr_at_once
from service.processes.child import Channel, begin, context
from service.settings import Settings

logger = logging.getLogger(__name__)

END_S = 10.0  # for the process to end by itself


@dataclass(frozen=True)
class _Ready:
    name: str
    dtype: torch.dtype
    hidden_size: int


class EngineProcess:
    """As `Device`, but for `lost`. Owned by the event loop that has started it."""

    def __init__(self, process: BaseProcess, channel: Channel, ready: _Ready) -> None:
        self.name, self.dtype = ready.name, ready.dtype
        self.lost = asyncio.Event()  # the process has ended by itself: nothing can be computed any more
        self._hidden_size = ready.hidden_size
        self._process, self._channel = process, channel
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._listener = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, settings: Settings) -> Self:
        """Once it has loaded the backbone that `settings` ask for. Raises BackboneError, or EngineLost."""
        ours, theirs = socket.socketpair()
        process = context().Process(target=_run, args=(theirs, settings), name="engine")
        with theirs:
            await asyncio.to_thread(process.start)
        channel = await Channel.open(ours)
        try:
            ready = await channel.receive()
        except EOFError:
            ready = None
        except BaseException:  # nobody waits for it any more, and it does not know yet
            process.kill()
            raise
        if isinstance(ready, _Ready):
            return cls(process, channel, ready)
        channel.close()
        await asyncio.to_thread(_end, process)
        if ready is None:
            raise EngineLost("the engine's process ended while it started: see the server's log")
        raise BackboneError(ready)

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process.pid is not None
        return self._process.pid

    def num_bytes(self, num_parameters: int, num_outputs: int) -> int:
        """Memory that an adapter of `num_parameters` takes with a head of `num_outputs`."""
        return slot_bytes(self._hidden_size, self.dtype, num_parameters, num_outputs)

    async def write(self, slot: int, digest: str, data: bytes, *, checked: bool) -> None:
        """As `Writer.write`. Raises EngineLost, too."""
        await self._call("write", slot, digest, data, checked)

    def clear(self, slot: int) -> None:
        """Free the slot, which no batch uses."""
        self._channel.send((None, "clear", (slot,)))

    async def prepare(self, batch: BatchTokens) -> int:
        """A ticket for `compute`, good until the next but one is asked for."""
        ticket = next(self._numbers)
        self._channel.send((None, "prepare", (ticket, batch)))
        return ticket

    async def compute(self, ticket: int) -> list[np.ndarray]:
        """As `Engine.compute`. Raises InferenceFailed, EngineLost."""
        shapes, flat = await self._call("compute", ticket)
        stops = np.cumsum([rows * columns for rows, columns in shapes])[:-1]
        return [piece.reshape(shape) for piece, shape in zip(np.split(flat, stops), shapes, strict=True)]

    async def close(self) -> None:
        """Have the process end; kill it where it does not."""
        self._listener.cancel()
        with suppress(asyncio.CancelledError):
            await self._listener
        self._channel.close()
        await asyncio.to_thread(_end, self._process)

    async def _call(self, method: str, *arguments: object) -> Any:
        if self.lost.is_set():
            raise EngineLost("the engine's process has ended")
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._channel.send((number, method, arguments))
        return await answer

    async def _listen(self) -> None:
        try:
            while True:
                number, result = await self._channel.receive()
                answer = self._waiting.pop(number)
                if answer.done():  # whoever asked has left
                    continue
                if isinstance(result, Exception):
                    answer.set_exception(result)
                else:
                    answer.set_result(result)
        except EOFError:
            logger.critical("the engine's process has ended")
            self.lost.set()
        finally:
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(EngineLost("the engine's process has ended"))


def _end(process: BaseProcess) -> None:
    process.join(END_S)
    if process.is_alive():
        process.kill()
        process.join()
    process.close()


def _run(end: socket.socket, settings: Settings) -> None:
    begin()
    to_stderr_at_once(settings)
    asyncio.run(_serve(end, settings))


async def _serve(end: socket.socket, settings: Settings) -> None:
    channel = await Channel.open(end)
    try:
        loaded = load_for(settings)
    except AdapterError as error:
        channel.send(str(error))
        return channel.close()
    device = EngineWorker(loaded, settings)
    gc.collect()
    gc.freeze()  # as the server does
    channel.send(_Ready(device.name, device.dtype, loaded.identity.hidden_size))
    await EngineServer(device, channel).until_closed()
    await device.close()


class EngineServer:
    """An EngineWorker on the channel's other end."""

    def __init__(self, device: EngineWorker, channel: Channel) -> None:
        self._device, self._channel = device, channel
        self._prepared: dict[int, asyncio.Task[Any]] = {}  # by ticket; of two, the older may never be computed
        self._running: set[asyncio.Task[None]] = set()

    async def until_closed(self) -> None:
        with suppress(EOFError):
            while True:
                number, method, arguments = await self._channel.receive()
                work = getattr(self, f"_{method}")(*arguments)
                if number is not None:
                    task = asyncio.create_task(self._answer(number, work))
                    self._running.add(task)
                    task.add_done_callback(self._running.discard)
        await asyncio.gather(*self._running)

    async def _answer(self, number: int, work: Coroutine[Any, Any, object]) -> None:
        result: object
        try:
            result = await work
        except ServiceError as error:
            result = error
        except Exception as error:
            logger.exception("the forward pass failed")
            result = InferenceFailed(f"the forward pass failed: {type(error).__name__}: {error}")
        self._channel.send((number, result))

    def _clear(self, slot: int) -> None:
        self._device.clear(slot)

    def _prepare(self, ticket: int, batch: BatchTokens) -> None:
        while len(self._prepared) > 1:
            self._prepared.pop(next(iter(self._prepared)))
        task = self._prepared[ticket] = asyncio.create_task(self._device.prepare(batch))
        task.add_done_callback(
            lambda done: done.cancelled() or done.exception()
        )  # which `_compute` tells, if it is called

    def _compute(self, ticket: int) -> Coroutine[Any, Any, object]:
        return self._logits(self._prepared.pop(ticket))

    async def _logits(self, preparing: asyncio.Task[Any]) -> tuple[list[tuple[int, int]], np.ndarray]:
        logits = await self._device.compute(await preparing)
        return [(len(rows), rows.shape[1]) for rows in logits], np.concatenate([rows.ravel() for rows in logits])

    def _write(self, slot: int, digest: str, data: bytes, checked: bool) -> Coroutine[Any, Any, object]:
        return self._device.write(slot, digest, data, checked=checked)
