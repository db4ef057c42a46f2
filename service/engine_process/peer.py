"""Peer: one HTTP process, as the engine process sees it."""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from service.core import AdapterRef, CheckedUpload, GatedRef
from service.dispatch import messages
from service.dispatch.label_counts import Counted
from service.engine_process.local import LocalTicket
from service.errors import InferenceFailed, InternalError, ServiceError
from service.processes.channel import Channel

if TYPE_CHECKING:
    from service.engine_process.server import DispatchServer

END_S = 0.5  # for the connection of an ended process to close

logger = logging.getLogger(__name__)
_Call = messages.Warm | messages.CheckUpload | messages.Announce | messages.CountLabels


class Peer:
    """One HTTP process: its tickets and calls, which end with its connection."""

    def __init__(self, server: "DispatchServer") -> None:
        self.channel = Channel(self._handle, self._end)
        self._server, self._dispatcher = server, server.dispatcher
        self._tickets: dict[int, LocalTicket] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._follows: dict[int, asyncio.Future[None]] = {}
        self._num_follows = 0
        self._uploads: set[int] = set()  # the numbers of permits that are held
        self._pid = 0
        self.connection = 0  # its name in the load page
        self.num_opened = 0  # openings that the admission has judged
        self._ended = asyncio.Event()

    async def follow(self) -> None:
        """Wait until the process has read the registry. Raises RegistryUnavailable."""
        self._num_follows += 1
        number = self._num_follows
        waiting = self._follows[number] = asyncio.get_running_loop().create_future()
        self.channel.send(messages.Follow(number))
        try:
            await waiting
        finally:
            self._follows.pop(number, None)

    async def end(self) -> None:
        """Kill the process, whose place another one takes."""
        logger.error("HTTP process %d did not follow a change of the registry in time: ended", self._pid)
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), END_S)

    def _handle(self, message: object) -> None:
        match message:
            case messages.Steps():
                self._take(message)
            case messages.Close(numbers):
                for number in numbers:
                    self._close(number)
            case messages.Returned(number) | messages.Failed(number):
                self._follow_ended(message)
            case messages.BeginUpload(number):
                self._begin_upload(number)
            case messages.EndUpload(number):
                self._end_upload(number)
            case messages.Warm() | messages.CheckUpload() | messages.Announce() | messages.CountLabels():
                answering = asyncio.create_task(self._answer(message))
                self._calls.add(answering)
                answering.add_done_callback(self._calls.discard)
                if isinstance(message, messages.CheckUpload):  # a process that is ended cannot remove its file
                    answering.add_done_callback(partial(_remove, message.path))
            case messages.Hello(pid, connection):
                self._pid, self.connection = pid, connection
        self._server.publish_soon()

    def _take(self, steps: messages.Steps) -> None:
        """Take the steps of a ticket, unless an earlier one was refused."""
        number = steps.number
        try:
            ticket = self._tickets.get(number) if steps.opening is None else self._open(number, steps.opening)
            if ticket is None or ticket.is_closed:
                return
            if steps.most_tokens is not None:
                ticket.reserve(steps.most_tokens)
            if steps.confirm:
                self.channel.send(messages.Granted(number))
            if steps.inputs is not None and steps.adapter is not None:
                self._compute(ticket, number, steps.adapter, steps.inputs)
            elif steps.adapter is not None:
                ticket.load(steps.adapter)
        except Exception as error:
            self._refuse(number, error)

    def _open(self, number: int, opening: messages.Opening) -> LocalTicket | None:
        self.num_opened += 1
        first = None
        if opening.beside is not None and (first := self._tickets.get(opening.beside)) is None:
            return None  # the first ticket got no permit, which ends the whole request
        refused = partial(self._refuse, number)
        ticket = self._dispatcher.open(opening.task, opening.deadline, refused, beside=first)
        self._tickets[number] = ticket
        return ticket

    def _refuse(self, number: int, error: BaseException) -> None:
        """Give the permit back; the ticket itself stays until Close: others of its request name it."""
        if (ticket := self._tickets.get(number)) is not None:
            ticket.close()
        if not isinstance(error, ServiceError):
            logger.error("a request could not be computed", exc_info=error)
            error = InferenceFailed(f"the request could not be computed: {type(error).__name__}: {error}")
        self.channel.send(messages.Refused(number, error))

    def _compute(self, ticket: LocalTicket, number: int, adapter: AdapterRef, inputs: messages.Inputs) -> None:
        done = ticket.submit(adapter, inputs.encodings())
        is_gated = isinstance(adapter, GatedRef)
        done.add_done_callback(lambda done: self._send_answer(ticket, number, done, is_gated))

    def _send_answer(self, ticket: LocalTicket, number: int, done: asyncio.Future[np.ndarray], is_gated: bool) -> None:
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            logits, progress = done.result(), ticket.progress
            data = logits.astype(np.float32, copy=False).tobytes()
            times = progress.queued_at, progress.queue_s, progress.inference_s
            answer = number, logits.shape[1], data, *times, progress.batches
            self.channel.send(
                messages.GatedAnswer(*answer, ticket.has_own_gate) if is_gated else messages.Answer(*answer)
            )
        else:
            self._refuse(number, error)
        self._server.publish_soon()

    async def _answer(self, call: _Call) -> None:
        try:
            answer: messages.Returned | messages.Failed = messages.Returned(call.number, await self._run(call))
        except ServiceError as error:
            answer = messages.Failed(call.number, error)
        except Exception as error:
            logger.error("%s of an HTTP process failed", type(call).__name__, exc_info=error)
            answer = messages.Failed(call.number, InternalError())
        self.channel.send(answer)

    def _run(self, call: _Call) -> Awaitable[CheckedUpload | dict[str, Counted] | None]:
        dispatcher = self._dispatcher
        match call:
            case messages.Warm():
                return dispatcher.warm(call.adapter)
            case messages.CheckUpload():
                return self._dispatcher.check_upload(call.path, load=call.load)
            case messages.Announce():
                return self._server.announce(self)
            case messages.CountLabels():
                return dispatcher.label_counts(call.digests)

    def _begin_upload(self, number: int) -> None:
        try:
            self._dispatcher.begin_upload()
        except ServiceError as error:
            self.channel.send(messages.Failed(number, error))
        else:
            self._uploads.add(number)
            self.channel.send(messages.Returned(number))

    def _end_upload(self, number: int) -> None:
        if number in self._uploads:
            self._uploads.remove(number)
            self._dispatcher.end_upload()

    def _follow_ended(self, message: messages.Returned | messages.Failed) -> None:
        waiting = self._follows.get(message.number)
        if waiting is None or waiting.done():
            return
        if isinstance(message, messages.Failed):
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
        for number in list(self._uploads):
            self._end_upload(number)
        for waiting in self._follows.values():
            if not waiting.done():
                waiting.set_result(None)  # a process that has ended answers nothing from an older state
        self._ended.set()
        self._server.publish_soon()


def _remove(path: Path, _: object) -> None:
    path.unlink(missing_ok=True)
