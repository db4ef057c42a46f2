"""RemoteTicket: a ticket of the engine process, in an HTTP process."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from adapters.backbone.text_encoder import Encoding
from service.core import AdapterRef, Progress
from service.dispatch.dispatcher import Ticket
from service.dispatch.messages import Answer, GatedAnswer, Granted, Inputs, Opening, Steps
from service.errors import ServiceError


class Sender(Protocol):
    """The part of a RemoteDispatcher that its tickets use."""

    loop: asyncio.AbstractEventLoop

    @property
    def num_flushes(self) -> int:
        """How often the queued messages were sent."""

    def send(self, message: object) -> int:
        """Queue a message; it may be changed while `num_flushes` is what this returns. Raises EngineDied."""

    def forget(self, ticket: "RemoteTicket") -> None:
        """Close `ticket`."""


class RemoteTicket(Ticket):
    """A ticket of the engine process, which learns what happens to it from messages.

    Steps that are taken in one turn of the event loop travel in one message.
    """

    def __init__(
        self, number: int, opening: Opening, dispatcher: Sender, refused: Callable[[ServiceError], None]
    ) -> None:
        self.number, self.task, self.progress, self.has_own_gate = number, opening.task, Progress(), False
        self._dispatcher, self._refused = dispatcher, refused
        self._refusal: ServiceError | None = None
        self._waiting: asyncio.Future[Any] | None = None
        self._steps = Steps(number, opening)
        self._flush = dispatcher.send(self._steps)  # the steps may be changed until the next one

    def reserve(self, most_tokens: int) -> None:
        self._next_steps().most_tokens = most_tokens

    async def granted(self) -> None:
        self._next_steps().confirm = True
        await self._wait()

    def load(self, adapter: AdapterRef) -> None:
        self._next_steps().adapter = adapter

    async def compute(self, adapter: AdapterRef, encodings: Sequence[Encoding]) -> np.ndarray:
        self.progress.queued_at = time.monotonic()
        steps = self._next_steps()
        steps.adapter, steps.inputs = adapter, Inputs.of(encodings)
        answer = await self._wait()
        assert isinstance(answer, Answer)
        self.has_own_gate = isinstance(answer, GatedAnswer) and answer.has_own_gate
        self.progress = Progress(answer.queued_at, answer.queue_s, answer.inference_s, answer.batches)
        return np.frombuffer(answer.logits, dtype=np.float32).reshape(len(encodings), answer.num_outputs)

    def close(self) -> None:
        self._dispatcher.forget(self)

    @property
    def has_sent(self) -> bool:
        """Whether no steps of this ticket are queued."""
        return self._flush != self._dispatcher.num_flushes

    def receive(self, message: Granted | Answer) -> None:
        """Handle a message for this ticket."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(message)

    def refuse(self, error: ServiceError) -> None:
        """Raise `error` where the ticket waits, or pass it on."""
        self._refusal = error
        if self._waiting is None:
            self._refused(error)
        elif not self._waiting.done():
            self._waiting.set_exception(error)

    def _next_steps(self) -> Steps:
        """Return the message for the next steps: one that is queued already, or a new one."""
        if self._refusal is not None:
            raise self._refusal
        if self._flush != self._dispatcher.num_flushes:
            self._steps = Steps(self.number)
            self._flush = self._dispatcher.send(self._steps)
        return self._steps

    async def _wait(self) -> object:
        self._waiting = self._dispatcher.loop.create_future()
        try:
            return await self._waiting
        finally:
            self._waiting = None
