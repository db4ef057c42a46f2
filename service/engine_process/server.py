"""DispatchServer: answers the HTTP processes of one server with a LocalDispatcher."""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from service.core import CheckedUpload
from service.dispatch.label_counts import Counted
from service.dispatch.load_page import LoadPage
from service.dispatch.messages import (
    Announce,
    Answer,
    BeginUpload,
    Call,
    CheckUpload,
    Close,
    Confirm,
    CountLabels,
    EndUpload,
    Failed,
    Follow,
    Granted,
    Hello,
    Load,
    MarkChecked,
    Open,
    Refused,
    Reserve,
    Returned,
    Submit,
    Warm,
)
from service.engine_process.local import LocalDispatcher, LocalTicket
from service.errors import InferenceFailed, RegistryUnavailable, ServiceError
from service.processes.channel import Channel

FOLLOW_S = 1.0  # in which an HTTP process must have read the registry after a change; then it is ended
END_S = 0.5  # for the connection of an ended process to close
PUBLISH_S = 0.005  # between two writes of the load page

logger = logging.getLogger(__name__)


class DispatchServer:
    """The HTTP processes that are connected, and the page that shows them the load."""

    def __init__(self, dispatcher: LocalDispatcher, page: LoadPage) -> None:
        self.dispatcher, self._page = dispatcher, page
        self._peers: set[Peer] = set()
        self._is_publishing = False
        self._publish()

    def accept(self) -> Channel:
        """Return the channel of a new connection."""
        peer = Peer(self)
        self._peers.add(peer)
        return peer.channel

    def remove(self, peer: "Peer") -> None:
        """Forget a process whose connection has ended."""
        self._peers.discard(peer)

    def publish_soon(self) -> None:
        """Write the load page within PUBLISH_S: something has changed."""
        if not self._is_publishing:
            self._is_publishing = True
            asyncio.get_running_loop().call_later(PUBLISH_S, self._publish)

    def _publish(self) -> None:
        self._is_publishing = False
        self._page.write(self.dispatcher.parts.admission.state())

    async def announce(self, origin: "Peer") -> None:
        """Wait until this process and every HTTP process but `origin` have read the registry.

        An HTTP process that takes longer than FOLLOW_S is ended. Raises RegistryUnavailable if one could not read it.
        """
        await self.dispatcher.announce()
        following = {asyncio.create_task(peer.follow()): peer for peer in self._peers if peer is not origin}
        if not following:
            return
        done, late = await asyncio.wait(following, timeout=FOLLOW_S)
        if late:
            await asyncio.wait([asyncio.create_task(following[task].end()) for task in late])
        for task in late:
            task.cancel()
        for task in done:
            if (error := task.exception()) is not None:
                raise error


class Peer:
    """One HTTP process: its tickets and calls, which end with its connection."""

    def __init__(self, server: DispatchServer) -> None:
        self.channel = Channel(self._handle, self._end)
        self._server, self._dispatcher = server, server.dispatcher
        self._tickets: dict[int, LocalTicket] = {}
        self._computing: dict[int, asyncio.Task[None]] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._follows: dict[int, asyncio.Future[None]] = {}
        self._num_follows = 0
        self._num_uploads = 0
        self._pid = 0
        self._ended = asyncio.Event()

    async def follow(self) -> None:
        """Wait until the process has read the registry. Raises RegistryUnavailable."""
        self._num_follows += 1
        waiting = self._follows[self._num_follows] = asyncio.get_running_loop().create_future()
        self.channel.send(Follow(self._num_follows))
        await waiting

    async def end(self) -> None:
        """Kill the process, whose place another one takes."""
        logger.error("HTTP process %d did not follow a change of the registry within %g s: ended", self._pid, FOLLOW_S)
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), END_S)

    def _handle(self, message: object) -> None:
        match message:
            case Open(number, task, deadline, beside):
                self._open(number, task, deadline, beside)
            case Submit(number):
                if (ticket := self._tickets.get(number)) is not None:
                    work = asyncio.create_task(self._compute(ticket, message))
                    self._computing[number] = work
                    work.add_done_callback(lambda _: self._computing.pop(number, None))
            case Reserve(number, most_tokens):
                self._try(number, lambda ticket: ticket.reserve(most_tokens))
            case Load(number, adapter):
                self._try(number, lambda ticket: ticket.load(adapter))
            case Confirm(number):
                if number in self._tickets:
                    self.channel.send(Granted(number))
            case Close(number):
                self._close(number)
            case Returned(number) | Failed(number):
                self._follow_ended(message)
            case MarkChecked(digest):
                self._dispatcher.mark_checked(digest)
            case EndUpload():
                self._num_uploads -= 1
                self._dispatcher.end_upload()
            case Warm() | CheckUpload() | BeginUpload() | Announce() | CountLabels():
                answering = asyncio.create_task(self._answer(message))
                self._calls.add(answering)
                answering.add_done_callback(self._calls.discard)
            case Hello(pid):
                self._pid = pid
        self._server.publish_soon()

    def _open(self, number: int, task: str, deadline: float, beside: int | None) -> None:
        first = self._tickets.get(beside) if beside is not None else None
        if beside is not None and first is None:
            return  # the whole request was refused with its first ticket
        try:
            refuse = partial(self._refuse, number)
            self._tickets[number] = self._dispatcher.open(task, deadline, refuse, beside=first)
        except ServiceError as error:
            self.channel.send(Refused(number, error))

    def _try(self, number: int, step: Callable[[LocalTicket], None]) -> None:
        if (ticket := self._tickets.get(number)) is None:
            return  # refused before
        try:
            step(ticket)
        except ServiceError as error:
            self._refuse(number, error)

    def _refuse(self, number: int, error: ServiceError) -> None:
        self._close(number)
        self.channel.send(Refused(number, error))

    async def _compute(self, ticket: LocalTicket, message: Submit) -> None:
        number = message.number
        try:
            logits = await ticket.compute(message.adapter, message.encodings())
        except ServiceError as error:
            answer: Answer | Refused = Refused(number, error)
        except Exception as error:
            logger.exception("a request could not be computed")
            answer = Refused(number, InferenceFailed(f"the forward pass failed: {type(error).__name__}: {error}"))
        else:
            done = ticket.progress
            shape, data = logits.shape[1], logits.astype("float32", copy=False).tobytes()
            answer = Answer(number, shape, data, done.queued_at, done.queue_s, done.inference_s, done.batches)
        self.channel.send(answer)
        self._server.publish_soon()

    async def _answer(self, call: Call) -> None:
        try:
            answer: Returned | Failed = Returned(call.number, await self._run(call))
        except ServiceError as error:
            answer = Failed(call.number, error)
        except Exception as error:
            logger.exception("a call of an HTTP process failed")
            answer = Failed(call.number, RegistryUnavailable(f"{type(call).__name__} failed: {type(error).__name__}"))
        self.channel.send(answer)

    def _run(self, call: Call) -> Awaitable[CheckedUpload | dict[str, Counted] | None]:
        dispatcher = self._dispatcher
        match call:
            case Warm():
                return dispatcher.warm(call.adapter)
            case CheckUpload():
                return dispatcher.check_upload(call.path)
            case BeginUpload():
                return self._begin_upload()
            case Announce():
                return self._server.announce(self)
            case CountLabels():
                return dispatcher.label_counts(call.digests)

    async def _begin_upload(self) -> None:
        self._dispatcher.begin_upload()
        self._num_uploads += 1

    def _follow_ended(self, message: Returned | Failed) -> None:
        waiting = self._follows.pop(message.number, None)
        if waiting is None or waiting.done():
            return
        if isinstance(message, Failed):
            waiting.set_exception(message.error)
        else:
            waiting.set_result(None)

    def _close(self, number: int) -> None:
        if (ticket := self._tickets.pop(number, None)) is None:
            return
        ticket.close()
        if (computing := self._computing.get(number)) is not None:
            computing.cancel()

    def _end(self) -> None:
        """Abandon the requests of the process, which has ended or closes its connection."""
        self._server.remove(self)
        for number in list(self._tickets):
            self._close(number)
        for task in self._calls:
            task.cancel()
        for _ in range(self._num_uploads):
            self._dispatcher.end_upload()
        for waiting in self._follows.values():
            if not waiting.done():
                waiting.set_result(None)  # a process that has ended answers nothing from an older state
        self._ended.set()
        self._server.publish_soon()
