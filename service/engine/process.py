"""The engine in a process of its own, so that HTTP and the engine's threads do not share one Python interpreter.

EngineProcess is the server's end of a socket pair, EngineServer the engine's end; messages.py has what they exchange.
Each side reads messages in the order in which the other has sent them.
"""

import asyncio
import gc
import itertools
import logging
import socket
from collections.abc import Awaitable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from adapters.config import slot_bytes
from adapters.errors import AdapterError, BackboneError
from adapters.serving.batch import BatchTokens
from service.engine.backend import EngineBackend
from service.engine.messages import (
    Answer,
    Clear,
    Compute,
    Computed,
    Done,
    Failed,
    Prepare,
    Request,
    Started,
    StartFailed,
    Write,
)
from service.errors import EngineDied, InferenceFailed, ServiceError
from service.observability.logs import to_stderr_at_once
from service.processes.child import Channel, begin, context
from service.settings import Settings

if TYPE_CHECKING:
    from service.engine.worker import EngineWorker

logger = logging.getLogger(__name__)

END_S = 10.0  # the process is killed if it has not ended by then


class EngineProcess(EngineBackend):
    """An EngineBackend whose work is done in another process. Owned by the event loop that has started it."""

    def __init__(self, process: BaseProcess, channel: Channel, started: Started) -> None:
        self.name, self.dtype = started.name, started.dtype
        self.pid = process.pid
        self.died = asyncio.Event()
        self._hidden_size, self._item_bytes = started.hidden_size, started.item_bytes
        self._process, self._channel = process, channel
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._listener = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, settings: Settings) -> Self:
        """Start the process and wait until it has loaded the backbone. Raises BackboneError, EngineDied."""
        ours, theirs = socket.socketpair()
        process = context().Process(target=_run, args=(theirs, settings), name="engine")
        with theirs:
            await asyncio.to_thread(process.start)
        channel = await Channel.open(ours)
        started: Started | StartFailed | None = None
        try:
            started = await channel.receive()
        except EOFError:
            pass
        except BaseException:  # the start was cancelled, which the process does not notice while it loads
            process.kill()
            raise
        if isinstance(started, Started):
            return cls(process, channel, started)
        channel.close()
        await asyncio.to_thread(_end, process)
        if started is None:
            raise EngineDied("the engine's process ended while it started: see the server's log")
        raise BackboneError(started.message)

    def num_bytes(self, num_parameters: int, num_outputs: int) -> int:
        return slot_bytes(self._hidden_size, self._item_bytes, num_parameters, num_outputs)

    async def write(self, slot: int, digest: str, data: bytes, *, checked: bool) -> None:
        await self._ask(Write(next(self._numbers), slot, digest, data, checked))

    def clear(self, slot: int) -> None:
        self._channel.send(Clear(slot))

    async def prepare(self, batch: BatchTokens) -> Compute:
        number = next(self._numbers)
        self._channel.send(Prepare(number, batch))
        return Compute(number)

    async def compute(self, prepared: Compute) -> list[np.ndarray]:
        answer = await self._ask(prepared)
        assert isinstance(answer, Computed)
        stops = np.cumsum([rows * columns for rows, columns in answer.shapes])[:-1]
        pieces = np.split(answer.values, stops)
        return [piece.reshape(shape) for piece, shape in zip(pieces, answer.shapes, strict=True)]

    async def close(self) -> None:
        """Let the process end, and kill it if it does not."""
        self._listener.cancel()
        with suppress(asyncio.CancelledError):
            await self._listener
        self._channel.close()
        await asyncio.to_thread(_end, self._process)

    async def _ask(self, request: Write | Compute) -> Answer:
        if self.died.is_set():
            raise EngineDied("the engine's process has ended")
        waiting = self._waiting[request.number] = asyncio.get_running_loop().create_future()
        self._channel.send(request)
        answer: Answer = await waiting
        if isinstance(answer, Failed):
            raise answer.error
        return answer

    async def _listen(self) -> None:
        try:
            while True:
                answer: Answer = await self._channel.receive()
                waiting = self._waiting.pop(answer.number)
                if not waiting.done():  # done: the caller was cancelled
                    waiting.set_result(answer)
        except EOFError:
            logger.critical("the engine's process has ended")
            self.died.set()
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(EngineDied("the engine's process has ended"))


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
    from service.engine.worker import (  # imports torch: only the engine's process needs it
        EngineWorker,
        load_backbone_for,
    )

    channel = await Channel.open(end)
    try:
        loaded = load_backbone_for(settings)
    except AdapterError as error:
        channel.send(StartFailed(str(error)))
        return channel.close()
    worker = EngineWorker(loaded, settings)
    gc.collect()
    gc.freeze()  # as the server does
    channel.send(Started(worker.name, worker.dtype, loaded.backbone.dtype.itemsize, loaded.identity.hidden_size))
    await EngineServer(worker, channel).serve()
    await worker.close()


class EngineServer:
    """Answers the requests of an EngineProcess with an EngineWorker."""

    def __init__(self, worker: "EngineWorker", channel: Channel) -> None:
        self._worker, self._channel = worker, channel
        self._prepared: dict[int, asyncio.Task[Any]] = {}  # by number; at most two, of which the older may be left over
        self._running: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Return when the server has closed its end and every request is answered."""
        with suppress(EOFError):
            while True:
                self._handle(await self._channel.receive())
        await asyncio.gather(*self._running)

    def _handle(self, request: Request) -> None:
        match request:
            case Clear(slot):
                self._worker.clear(slot)
            case Prepare(number, batch):
                self._prepare(number, batch)
            case Compute(number):
                self._start(number, self._compute(number, self._prepared.pop(number)))
            case Write(number):
                self._start(number, self._write(request))

    def _start(self, number: int, work: Awaitable[Answer]) -> None:
        task = asyncio.create_task(self._answer(number, work))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _answer(self, number: int, work: Awaitable[Answer]) -> None:
        try:
            answer = await work
        except ServiceError as error:
            answer = Failed(number, error)
        except Exception as error:
            logger.exception("the forward pass failed")
            message = f"the forward pass failed: {type(error).__name__}: {error}"
            answer = Failed(number, InferenceFailed(message))
        self._channel.send(answer)

    def _prepare(self, number: int, batch: BatchTokens) -> None:
        while len(self._prepared) > 1:
            self._prepared.pop(next(iter(self._prepared)))
        task = self._prepared[number] = asyncio.create_task(self._worker.prepare(batch))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # _compute raises it, if it is called

    async def _compute(self, number: int, preparing: asyncio.Task[Any]) -> Computed:
        logits = await self._worker.compute(await preparing)
        shapes = [(len(rows), rows.shape[1]) for rows in logits]
        return Computed(number, shapes, np.concatenate([rows.ravel() for rows in logits]))

    async def _write(self, request: Write) -> Done:
        await self._worker.write(request.slot, request.digest, request.data, checked=request.checked)
        return Done(request.number)
