"""Scheduler: forms batches, has the engine prepare and compute them, and delivers the logits. Imports no torch.

Owned by the event loop; docs/scheduling.md is its contract. A batch is whatever is queued when the engine is free, up
to a token budget: no timer. The next batch is formed and prepared while the engine computes, so that the engine does
not wait for it, but only when the computation is nearly done: later requests then wait for one batch less.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.core import Batch, BatchRun, Part, Request, Segment
from service.engine.backend import EngineBackend
from service.errors import DeadlineExceeded, InferenceFailed, ServiceError, ShuttingDown
from service.observability.metrics import Metrics
from service.scheduling.admission import Admission
from service.scheduling.fair_queue import FairQueue
from service.scheduling.throughput import ThroughputEstimator

_LEAD = 3.0  # the next batch is formed so many times ahead of the current one's end as preparing takes
_MIN_LEAD_S, _MAX_LEAD_S = 0.003, 0.02
_SHORT_LEAD = 0.1  # of a batch: few requests come so late, so that less than a full budget is formed ahead, too
_PREPARE_WEIGHT = 0.2  # of the newest batch in the running mean


@dataclass(frozen=True)
class _Ready:
    batch: Batch
    prepared: Any
    full: bool  # more was queued than the batch took


class Scheduler:
    """Forms batches, has the engine compute them, and delivers the logits.

    `pin_batch(slots)` keeps the adapters of a batch in their slots, `weight(task)` is FairQueue's, and `clock` gives
    the seconds of deadlines.
    """

    def __init__(
        self,
        engine: EngineBackend,
        admission: Admission,
        throughput: ThroughputEstimator,
        metrics: Metrics,
        *,
        pin_batch: Callable[[Iterable[int]], AbstractContextManager[None]],
        weight: Callable[[str], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._admission, self._throughput, self._metrics = engine, admission, throughput, metrics
        self._pin_batch, self._clock = pin_batch, clock
        self._queue = FairQueue(weight)
        self._wake = asyncio.Event()
        self._computing: Batch | None = None
        self._prepare_s = 0.0  # running mean of what preparing a batch takes
        self._nearly_done = False  # is the engine with _computing
        self._enough_tokens = 0  # queued then, to form the next batch
        self._ahead: asyncio.Task[_Ready | None] | None = None  # formed while another batch is computed
        self._requests: set[Request] = set()  # submitted, not yet answered
        self._loop: asyncio.Task[None] | None = None
        metrics.watch(metrics.queue_depth, lambda: len(self._queue))
        metrics.watch(metrics.queued_tokens, lambda: self._queue.num_tokens)
        metrics.watch(metrics.queue_oldest, self._oldest_s)

    def start(self) -> None:
        """Start to serve requests."""
        self._loop = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Refuse new requests, fail those that wait or are computed, and end."""
        self._admission.closing = True
        for task in (self._loop, self._ahead):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        for request in self._requests:
            _fail(request, ShuttingDown("the server is shutting down"))

    async def submit(self, request: Request) -> np.ndarray:
        """Return the logits [inputs, num outputs] of an admitted request; cancelling the call abandons the request.

        Raises DeadlineExceeded, InferenceFailed, ShuttingDown.
        """
        self.enqueue(request)
        try:
            return await request.done
        finally:
            self.leave(request)

    def enqueue(self, request: Request) -> None:
        """Queue an admitted request; the caller calls `leave` once `request.done` is done. Raises ShuttingDown."""
        if self._admission.closing:
            raise ShuttingDown("the server is shutting down")
        request.queued_at = self._clock()
        self._requests.add(request)
        self._queue.push(request)
        self._wake.set()
        self._form_ahead()

    def leave(self, request: Request) -> None:
        """Forget a request that is answered or abandoned."""
        self._requests.discard(request)
        self._queue.discard(request)

    def form_batch(self) -> Batch | None:
        """Take the next batch out of the queue; None if the queue is empty."""
        budget = self._throughput.batch_tokens
        by = self._clock() + self._throughput.seconds(min(budget, self._queue.num_tokens))
        again, turn = None, None
        if self._queue.is_contended(budget // 2):
            again = self._throughput.contended_tokens(self._queue.light_tokens(budget // 2))
            turn = self._throughput.contended_turn_tokens
        parts = self._queue.take(budget, lambda request: self._drop(request, by), again_tokens=again, turn_tokens=turn)
        return Batch.of(parts) if parts else None

    async def _run(self) -> None:
        while True:
            began = self._clock()
            ready = await self._next()
            if ready is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            started = self._clock()
            self._computing = ready.batch
            self._observe_wait(ready.batch, started)
            soon = self._expect_end(ready.batch)
            try:
                with self._pin_batch({segment.slot for segment in ready.batch.segments}):
                    logits = await self._engine.compute(ready.prepared)
                rows = list(zip(ready.batch.segments, logits, strict=True))
            except Exception as error:
                self._fail_batch(ready.batch, error)
            else:
                ended = self._clock()
                self._throughput.observe(ready.batch.num_tokens, ended - began, full=ready.full)
                # Later in this turn of the loop: a batch that is ready goes to the engine before answers are delivered.
                asyncio.get_running_loop().call_soon(self._deliver, ready.batch, rows, started, ended - started)
            finally:
                soon.cancel()
                self._computing = None

    def _expect_end(self, batch: Batch) -> asyncio.TimerHandle:
        """Form the next batch when `batch`, whose computation starts now, is nearly done."""
        expected_s = self._throughput.seconds(batch.num_tokens)
        self._nearly_done = False

        def soon() -> None:
            self._nearly_done = True
            self._form_ahead()

        lead_s = min(max(_MIN_LEAD_S, _LEAD * self._prepare_s), _MAX_LEAD_S)
        self._enough_tokens = self._throughput.batch_tokens
        if lead_s <= _SHORT_LEAD * expected_s:
            self._enough_tokens = min(self._enough_tokens, max(1, batch.num_tokens // 2))
        return asyncio.get_running_loop().call_later(max(0.0, expected_s - lead_s), soon)

    async def _next(self) -> _Ready | None:
        """Return the batch to compute now: the one formed ahead, else a new one; None if nothing is queued."""
        ready = None
        if (ahead := self._ahead) is not None:
            ready = await ahead
            self._ahead = None
        while ready is None and (batch := self.form_batch()) is not None:
            ready = await self._prepare(batch)
        while ready is not None and any(self._drop(part.request, self._clock()) for part in ready.batch.parts):
            rest = self._prune(ready.batch)
            ready = await self._prepare(rest) if rest is not None else await self._next()
        return ready

    def _form_ahead(self) -> None:
        if self._computing is None or not self._nearly_done or self._ahead is not None:
            return
        if self._queue.num_tokens >= self._enough_tokens and (batch := self.form_batch()) is not None:
            self._ahead = asyncio.create_task(self._prepare(batch))

    async def _prepare(self, batch: Batch) -> _Ready | None:
        """Return None if the engine failed to prepare it; its requests have failed then."""
        full = self._queue.num_tokens > 0
        began = self._clock()
        try:
            ready = _Ready(batch, await self._engine.prepare(batch.tokens()), full)
            self._prepare_s += _PREPARE_WEIGHT * (self._clock() - began - self._prepare_s)
            return ready
        except Exception as error:
            self._fail_batch(batch, error)
            return None

    def _prune(self, batch: Batch) -> Batch | None:
        """Remove requests that have expired or been abandoned since the batch was formed, and refund their charge."""
        rest: list[Part] = []
        for part in batch.parts:
            if self._drop(part.request, self._clock()):
                self._queue.refund(part.request.task, part.num_tokens)
            else:
                rest.append(part)
        return Batch.of(rest) if rest else None

    def _drop(self, request: Request, by: float) -> bool:
        """Whether the request is abandoned or would expire before the time `by`; an expired one fails at once."""
        if request.permit.deadline <= by:
            _fail(request, DeadlineExceeded("the deadline of this request passes before it can be computed"))
        return request.abandoned

    def _deliver(
        self, batch: Batch, logits: list[tuple[Segment, np.ndarray]], started: float, duration_s: float
    ) -> None:
        metrics = self._metrics
        ran = BatchRun(started, duration_s, batch.num_inputs, batch.num_tokens, len(batch.segments))
        metrics.inference.observe(duration_s)
        metrics.batch_size.observe(ran.num_inputs)
        metrics.batch_tokens.observe(ran.num_tokens)
        metrics.batch_adapters.observe(ran.num_adapters)
        for request in {part.request for part in batch.parts}:
            request.timings.inference_s += duration_s
            request.batches.append(ran)
        for segment, rows in logits:
            at = 0
            for part in segment.parts:
                request = part.request
                self._admission.give_back(request.permit, part.num_tokens)
                request.logits.append(rows[at : at + len(part.encodings)])
                at += len(part.encodings)
                whole = part.first + len(part.encodings) == len(request.encodings)
                if whole and not request.abandoned:
                    request.done.set_result(np.concatenate(request.logits))

    def _fail_batch(self, batch: Batch, error: Exception) -> None:
        for part in batch.parts:
            self._queue.discard(part.request)
            if isinstance(error, ServiceError):
                _fail(part.request, type(error)(str(error)))
            else:
                message = f"the forward pass failed: {type(error).__name__}: {error}"
                _fail(part.request, InferenceFailed(message), error)

    def _observe_wait(self, batch: Batch, now: float) -> None:
        for part in batch.parts:
            if part.first == 0:
                part.request.timings.queue_s = now - part.request.queued_at
                self._metrics.queue.observe(part.request.timings.queue_s)

    def _oldest_s(self) -> float:
        queued_at = self._queue.oldest_queued_at()
        return 0.0 if queued_at is None else self._clock() - queued_at


def _fail(request: Request, error: Exception, cause: Exception | None = None) -> None:
    if not request.abandoned:
        error.__cause__ = cause
        request.done.set_exception(error)
