"""DispatchServer: answers the HTTP processes of one server with a LocalDispatcher."""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable
from contextlib import suppress
from functools import partial

import numpy as np

from service.core import AdapterRef, CheckedUpload
from service.dispatch.label_counts import Counted
from service.dispatch.load_page import LoadPage
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
    Inputs,
    MarkChecked,
    Opening,
    Refused,
    Returned,
    Steps,
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
            case Steps():
                self._take(message)
            case Close(numbers):
                for number in numbers:
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

    def _take(self, steps: Steps) -> None:
        """Take the steps of a ticket, unless an earlier one was refused."""
        number = steps.number
        try:
            ticket = self._tickets.get(number) if steps.opening is None else self._open(number, steps.opening)
            if ticket is None:
                return
            if steps.most_tokens is not None:
                ticket.reserve(steps.most_tokens)
            if steps.confirm:
                self.channel.send(Granted(number))
            if steps.inputs is not None and steps.adapter is not None:
                self._compute(ticket, number, steps.adapter, steps.inputs)
            elif steps.adapter is not None:
                ticket.load(steps.adapter)
        except ServiceError as error:
            self._close(number)
            self.channel.send(Refused(number, error))

    def _open(self, number: int, opening: Opening) -> LocalTicket | None:
        first = None
        if opening.beside is not None and (first := self._tickets.get(opening.beside)) is None:
            return None  # the whole request was refused with its first ticket
        refused = partial(self._refuse, number)
        ticket = self._dispatcher.open(opening.task, opening.deadline, refused, beside=first)
        self._tickets[number] = ticket
        return ticket

    def _refuse(self, number: int, error: ServiceError) -> None:
        self._close(number)
        self.channel.send(Refused(number, error))

    def _compute(self, ticket: LocalTicket, number: int, adapter: AdapterRef, inputs: Inputs) -> None:
        done = ticket.submit(adapter, inputs.encodings())
        done.add_done_callback(lambda done: self._send_answer(ticket, number, done))

    def _send_answer(self, ticket: LocalTicket, number: int, done: asyncio.Future[np.ndarray]) -> None:
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            logits, progress = done.result(), ticket.progress
            data = logits.astype(np.float32, copy=False).tobytes()
            times = progress.queued_at, progress.queue_s, progress.inference_s
            self.channel.send(Answer(number, logits.shape[1], data, *times, progress.batches))
        elif isinstance(error, ServiceError):
            self.channel.send(Refused(number, error))
        else:
            logger.error("a request could not be computed", exc_info=error)
            message = f"the forward pass failed: {type(error).__name__}: {error}"
            self.channel.send(Refused(number, InferenceFailed(message)))
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
