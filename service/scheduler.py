"""Scheduler: admission, queues, batch formation, delivery. It knows no torch.

A batch is whatever is queued when the engine is free, up to a token budget: no timer. The least served task goes
first (virtual token counters, Sheng et al. 2024, arXiv 2401.00588), first come first served inside a task, and
requests of one adapter stand side by side as a Segment. Owned by the event loop.
"""

import asyncio
import heapq
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np

from adapters.encoding import Encoding
from service.core import Batch, Part, Request, Segment
from service.errors import InferenceFailed, Overloaded, ShuttingDown
from service.metrics import Metrics

Execute = Callable[[Batch], Awaitable[list[np.ndarray]]]  # logits [rows, num outputs] of each segment

_TURN_TOKENS = 256  # what a task gets before the next one's turn
_RATE_WEIGHT = 0.2  # of the last batch in the running mean of tokens per second


@dataclass
class _TaskQueue:
    requests: deque[Request] = field(default_factory=deque)
    served_tokens: float = 0.0


class Scheduler:
    """`execute` runs one batch at a time; it is awaited, so that requests queue up while the engine is busy."""

    def __init__(
        self, execute: Execute, metrics: Metrics, *, max_batch_tokens: int, max_requests: int, max_inputs: int
    ) -> None:
        self._execute, self._metrics = execute, metrics
        self._max_batch_tokens, self._max_requests, self._max_inputs = max_batch_tokens, max_requests, max_inputs
        self._num_requests = self._num_inputs = 0  # admitted, not yet answered
        self._num_queued_tokens = 0
        self._queues: dict[str, _TaskQueue] = {}  # of the tasks that have something queued
        self._wake = asyncio.Event()
        self._tokens_per_s = 1000.0  # running mean, for Retry-After
        self._closing = False
        self._loop: asyncio.Task[None] | None = None
        metrics.watch_queue(self._depth, self._oldest_s)

    def start(self) -> None:
        """Begin to serve."""
        self._loop = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Refuse what comes, fail what is queued, and end."""
        self._closing = True
        if self._loop is not None:
            self._loop.cancel()
            with suppress(asyncio.CancelledError):
                await self._loop
        for queue in self._queues.values():
            for request in queue.requests:
                _fail(request, ShuttingDown("the server is shutting down"))
        self._queues.clear()

    @property
    def closing(self) -> bool:
        """Whether it has begun to refuse what comes."""
        return self._closing

    @contextmanager
    def admit(self, num_inputs: int) -> Iterator[None]:
        """A permit for one request, held until it is answered, taken before any work is done for it.

        Raises Overloaded or ShuttingDown.
        """
        if self._closing:
            raise ShuttingDown("the server is shutting down")
        if self._num_requests >= self._max_requests or self._num_inputs + num_inputs > self._max_inputs:
            wait_s = max(1.0, math.ceil(self._num_queued_tokens / self._tokens_per_s))
            raise Overloaded(f"{self._num_requests} requests are waiting already: try again in {wait_s:.0f} s", wait_s)
        self._num_requests += 1
        self._num_inputs += num_inputs
        try:
            yield
        finally:
            self._num_requests -= 1
            self._num_inputs -= num_inputs

    async def submit(self, request: Request) -> np.ndarray:
        """Logits [num inputs, num outputs] of an admitted request. To abandon it, cancel."""
        request.queued_at = time.monotonic()
        queue = self._queues.get(request.task)
        if queue is None:
            # A task that comes back starts level with those that are active: idleness earns no credit.
            least = min((other.served_tokens for other in self._queues.values()), default=0.0)
            queue = self._queues[request.task] = _TaskQueue(served_tokens=least)
        queue.requests.append(request)
        self._num_queued_tokens += request.num_tokens
        self._wake.set()
        return await request.done

    def form_batch(self) -> Batch | None:
        """Take the next batch out of the queues; None if nothing is queued."""
        turns = [(queue.served_tokens, number, task) for number, (task, queue) in enumerate(self._queues.items())]
        heapq.heapify(turns)
        parts: dict[int, list[Part]] = {}  # by slot
        room = self._max_batch_tokens
        while turns:
            _, number, task = heapq.heappop(turns)
            queue = self._queues[task]
            taken = self._take_turn(queue, room, parts, first=room == self._max_batch_tokens)
            room -= taken
            if not queue.requests:
                del self._queues[task]
            elif taken == 0:
                break  # the next input does not fit: the batch is full
            else:
                heapq.heappush(turns, (queue.served_tokens, number, task))
        return Batch([Segment(slot, members) for slot, members in parts.items()]) if parts else None

    def _take_turn(self, queue: _TaskQueue, room: int, parts: dict[int, list[Part]], *, first: bool) -> int:
        """Move one turn's inputs of a task into `parts`; the tokens taken."""
        taken = 0
        while queue.requests and taken < _TURN_TOKENS:
            request = queue.requests[0]
            start, chosen = request.num_taken, list[Encoding]()
            for encoding in request.encodings[start:] if not request.abandoned else ():
                fits = taken + len(encoding) <= room or (first and taken == 0)
                if not fits or taken >= _TURN_TOKENS:
                    break
                chosen.append(encoding)
                taken += len(encoding)
            if chosen:
                if start == 0:
                    request.timings.queue_s = time.monotonic() - request.queued_at
                    self._metrics.queue.observe(request.timings.queue_s)
                parts.setdefault(request.slot, []).append(Part(request, start, chosen))
                request.num_taken += len(chosen)
                self._num_queued_tokens -= sum(map(len, chosen))
            if request.abandoned:
                self._num_queued_tokens -= sum(map(len, request.encodings[request.num_taken :]))
            elif request.num_taken < len(request.encodings):
                break
            queue.requests.popleft()
        queue.served_tokens += taken
        return taken

    async def _run(self) -> None:
        while True:
            batch = self.form_batch()
            if batch is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            started = time.perf_counter()
            try:
                logits = await self._execute(batch)
            except Exception as error:
                for request in _requests(batch):
                    _fail(request, InferenceFailed(f"the forward pass failed: {type(error).__name__}: {error}"), error)
                continue
            self._deliver(batch, logits, time.perf_counter() - started)

    def _deliver(self, batch: Batch, logits: list[np.ndarray], duration_s: float) -> None:
        self._metrics.inference.observe(duration_s)
        self._metrics.batch_size.observe(batch.num_inputs)
        self._metrics.batch_tokens.observe(batch.num_tokens)
        self._metrics.batch_adapters.observe(len(batch.segments))
        self._tokens_per_s += _RATE_WEIGHT * (batch.num_tokens / duration_s - self._tokens_per_s)
        for request in _requests(batch):
            request.timings.inference_s += duration_s
        for segment, rows in zip(batch.segments, logits, strict=True):
            at = 0
            for part in segment.parts:
                request = part.request
                request.logits.append(rows[at : at + len(part.encodings)])
                at += len(part.encodings)
                finished = part.first + len(part.encodings) == len(request.encodings)
                if finished and not request.abandoned:
                    request.done.set_result(np.concatenate(request.logits))

    def _depth(self) -> float:
        return sum(len(queue.requests) for queue in self._queues.values())

    def _oldest_s(self) -> float:
        heads = [queue.requests[0].queued_at for queue in list(self._queues.values()) if queue.requests]
        return time.monotonic() - min(heads) if heads else 0.0


def _requests(batch: Batch) -> set[Request]:
    return {part.request for segment in batch.segments for part in segment.parts}


def _fail(request: Request, error: Exception, cause: Exception | None = None) -> None:
    if not request.abandoned:
        error.__cause__ = cause
        request.done.set_exception(error)
