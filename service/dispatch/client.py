"""RemoteDispatcher: a Dispatcher that asks the engine process, over a Channel and by what its LoadPage shows."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from service.core import AdapterRef, CheckedUpload
from service.dispatch.dispatcher import Dispatcher, Ticket
from service.dispatch.engine_info import EngineInfo
from service.dispatch.label_counts import Counted
from service.dispatch.load_page import LoadPage
from service.dispatch.load_view import LoadView
from service.dispatch.messages import (
    Announce,
    Answer,
    BeginUpload,
    Call,
    CheckUpload,
    Close,
    CountLabels,
    EndUpload,
    Failed,
    Follow,
    Granted,
    Hello,
    Opening,
    Refused,
    Returned,
    Warm,
)
from service.dispatch.ticket import RemoteTicket
from service.errors import CheckerUnavailable, EngineDied, RegistryUnavailable, ServiceError
from service.processes.channel import Channel
from service.scheduling.admission import Bounds

READ_S = 0.8  # in which the registry is read after a change; DispatchServer ends a process that does not answer
_ENDED = "the engine process has ended"


class RemoteDispatcher(Dispatcher):
    """The engine process, for an HTTP process. Owned by the event loop.

    `follow()` reads the registry, `weight(task)` is FairQueue's, and uploads pass through files in `folder`.
    """

    def __init__(
        self,
        engine: EngineInfo,
        folder: Path,
        page: LoadPage,
        bounds: Bounds,
        *,
        follow: Callable[[], Awaitable[object]],
        weight: Callable[[str], float],
    ) -> None:
        self.engine, self.died, self.loop = engine, asyncio.Event(), asyncio.get_running_loop()
        self._folder, self._follow, self._page = folder, follow, page
        self._load = LoadView(page, bounds, weight=weight, loop=self.loop)
        self._numbers = itertools.count(1)
        self._tickets: dict[int, RemoteTicket] = {}
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._following: set[asyncio.Task[None]] = set()
        self._channel: Channel | None = None
        self._closing, self._closing_flush = Close([]), -1  # the message for tickets that are closed next

    @property
    def silent_s(self) -> float:
        return self._page.silent_s

    async def connect(self, path: Path) -> None:
        """Connect to the engine process, which listens at `path`."""
        _, self._channel = await self.loop.create_unix_connection(lambda: Channel(self._handle, self._end), str(path))
        self.send(Hello(os.getpid(), self._load.connection))

    def send(self, message: object) -> int:
        """Queue a message without waiting; it may be changed while `num_flushes` is what this returns.

        Raises EngineDied.
        """
        if self._channel is None or self.died.is_set():
            raise EngineDied(_ENDED)
        self._channel.send(message)
        return self._channel.num_flushes

    @property
    def num_flushes(self) -> int:
        """How often the queued messages were sent."""
        return 0 if self._channel is None else self._channel.num_flushes

    def close(self) -> None:
        """End the connection: the engine process abandons the requests and calls that are left."""
        if self._channel is not None:
            self._channel.close()

    def check(self, task: str, deadline: float) -> None:
        if self.died.is_set():
            raise EngineDied(_ENDED)
        self._load.check(task, deadline)

    def open(
        self, task: str, deadline: float, refused: Callable[[ServiceError], None], *, beside: Ticket | None = None
    ) -> RemoteTicket:
        if self.died.is_set():
            raise EngineDied(_ENDED)
        self._load.open(task, deadline)
        first = None if beside is None else cast(RemoteTicket, beside).number
        ticket = RemoteTicket(next(self._numbers), Opening(task, deadline, first), self, refused)
        self._tickets[ticket.number] = ticket
        return ticket

    def forget(self, ticket: RemoteTicket) -> None:
        """Close `ticket`."""
        if self._tickets.pop(ticket.number, None) is None or self.died.is_set():
            return
        if self._closing_flush == self.num_flushes and ticket.has_sent:  # queued steps must arrive before the end
            self._closing.numbers.append(ticket.number)
        else:
            self._closing = Close([ticket.number])
            self._closing_flush = self.send(self._closing)

    async def warm(self, adapter: AdapterRef) -> None:
        await self._call(Warm(next(self._numbers), adapter))

    async def check_upload(self, data: bytes, *, load: bool) -> CheckedUpload:
        number = next(self._numbers)
        path = self._folder / f"upload-{os.getpid()}-{number}"
        writing = self.loop.run_in_executor(None, path.write_bytes, data)
        try:
            await asyncio.shield(writing)
            checked = await self._call(CheckUpload(number, path, load))
        except OSError as error:
            message = f"the file cannot be handed to the process that checks uploads: {error.strerror}"
            raise CheckerUnavailable(message) from error
        finally:  # a thread goes on writing after a cancellation
            writing.add_done_callback(lambda _: path.unlink(missing_ok=True))
        assert isinstance(checked, CheckedUpload)
        return replace(checked, data=data)

    @asynccontextmanager
    async def upload_permit(self) -> AsyncIterator[None]:
        number = next(self._numbers)
        try:
            await self._call(BeginUpload(number))
            yield
        finally:  # even if the call was cancelled: the engine process may have given the permit
            if not self.died.is_set():
                self.send(EndUpload(number))

    async def announce(self) -> None:
        await self._call(Announce(next(self._numbers)))

    async def label_counts(self, digests: Sequence[str]) -> dict[str, Counted]:
        counts = await self._call(CountLabels(next(self._numbers), list(digests)))
        assert isinstance(counts, dict)
        return counts

    async def _call(self, message: Call) -> object:
        waiting = self.loop.create_future()
        self.send(message)
        self._calls[message.number] = waiting
        try:
            return await waiting
        finally:
            del self._calls[message.number]

    def _handle(self, message: object) -> None:
        match message:
            case Answer(number) | Granted(number):
                if (ticket := self._tickets.get(number)) is not None:
                    ticket.receive(message)
            case Refused(number, error):
                if (ticket := self._tickets.get(number)) is not None:
                    ticket.refuse(error)
            case Returned(number, result):
                if (call := self._calls.get(number)) is not None and not call.done():
                    call.set_result(result)
            case Failed(number, error):
                if (call := self._calls.get(number)) is not None and not call.done():
                    call.set_exception(error)
            case Follow(number):
                task = asyncio.create_task(self._read_registry(number))
                self._following.add(task)
                task.add_done_callback(self._following.discard)

    async def _read_registry(self, number: int) -> None:
        reading = asyncio.ensure_future(self._follow())
        try:
            async with asyncio.timeout(READ_S):
                await asyncio.shield(reading)
        except TimeoutError:
            answer: Returned | Failed = Failed(number, RegistryUnavailable(f"not read within {READ_S:g} s"))
        except Exception as error:
            known = error if isinstance(error, ServiceError) else RegistryUnavailable(f"not followed: {error!r}")
            answer = Failed(number, known)
        else:
            answer = Returned(number)
        if not self.died.is_set():
            self.send(answer)

    def _end(self) -> None:
        self.died.set()
        for ticket in list(self._tickets.values()):
            ticket.refuse(EngineDied(_ENDED))
        for call in self._calls.values():
            if not call.done():
                call.set_exception(EngineDied(_ENDED))
