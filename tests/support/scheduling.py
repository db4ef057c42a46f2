"""Shared by the tests of queue, admission and scheduler: requests, a clock that stands still, an engine with gates."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from adapters.backbone.text_encoder import Encoding
from adapters.serving.batch import BatchTokens
from service.core import Batch, Request
from service.engine.backend import EngineBackend
from service.observability.metrics import Metrics
from service.scheduling.admission import Admission, Bounds
from service.scheduling.scheduler import Scheduler
from service.scheduling.throughput import ThroughputEstimator

BOUNDS = Bounds(max_requests=1000, max_tokens=100_000, max_wait_s=1e9)


def encoding(length: int, mark: int = 0) -> Encoding:
    """An input of `length` tokens that a FakeEngine answers with `mark`."""
    return Encoding(np.full(length, mark), np.zeros(length, dtype=np.int64), False)


def queued(task: str, *lengths: int, slot: int = 0) -> Request:
    """Make a request for a queue; it has no future."""
    return Request(task, slot, [encoding(length) for length in lengths], done=None)  # type: ignore[arg-type]  # unused


@dataclass
class Clock:
    """Stands until it is set."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeEngine:
    """Answers each input with its mark; holds batches back while `open` is not set."""

    prepared: list[BatchTokens] = field(default_factory=list)
    computed: list[BatchTokens] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    can_prepare: asyncio.Event = field(default_factory=asyncio.Event)
    prepare_error: Exception | None = None
    error: Exception | None = None
    pinned: set[int] = field(default_factory=set)  # slots of the batch that is computed

    def __post_init__(self) -> None:
        self.can_prepare.set()

    async def prepare(self, batch: BatchTokens) -> BatchTokens:
        self.prepared.append(batch)
        await self.can_prepare.wait()
        if self.prepare_error is not None:
            raise self.prepare_error
        return batch

    async def compute(self, batch: BatchTokens) -> list[np.ndarray]:
        self.computed.append(batch)
        assert self.pinned == set(batch.slots)
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return np.split(np.array(marks(batch))[:, None], np.cumsum(batch.num_inputs)[:-1])

    @contextmanager
    def pin_batch(self, slots: Iterable[int]) -> Iterator[None]:
        """Stands for AdapterCache.pin_batch."""
        assert not self.pinned
        self.pinned = set(slots)
        try:
            yield
        finally:
            self.pinned = set()

    async def one_batch(self) -> None:
        """Let the batch that is held back, and no other, be answered."""
        self.open.set()
        self.open.clear()
        await settle()


@dataclass
class Bench:
    """A scheduler on a fake engine and a clock."""

    max_batch_tokens: int = 512
    target_batch_s: float = 1e9
    bounds: Bounds = BOUNDS
    weights: dict[str, float] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    engine: FakeEngine = field(default_factory=FakeEngine)

    def __post_init__(self) -> None:
        self.throughput = ThroughputEstimator(
            max_batch_tokens=self.max_batch_tokens, target_batch_s=self.target_batch_s
        )
        weight = self.weight
        self.admission = Admission(self.bounds, self.throughput, weight=weight, clock=self.clock)
        self.metrics = Metrics()
        self.scheduler = Scheduler(
            cast(EngineBackend, self.engine),
            self.admission,
            self.throughput,
            self.metrics,
            pin_batch=self.engine.pin_batch,
            weight=weight,
            clock=self.clock,
        )

    def weight(self, task: str) -> float:
        return self.weights.get(task, 1.0)

    def request(self, task: str, *lengths: int, slot: int = 0, mark: int = 0, limit_s: float = 1e6) -> Request:
        """An admitted request; its inputs are marked `mark`, `mark` + 1 ..."""
        permit = self.admission.admit(task, self.clock.now + limit_s)
        self.admission.reserve(permit, sum(lengths))
        encodings = [encoding(length, mark + index) for index, length in enumerate(lengths)]
        return Request(task, slot, encodings, asyncio.get_running_loop().create_future(), permit)

    async def submit(self, *requests: Request) -> list[asyncio.Task[np.ndarray]]:
        """They wait when this returns, unless they are in a batch."""
        tasks = [asyncio.ensure_future(self._answer(item)) for item in requests]
        await settle()
        return tasks

    async def _answer(self, request: Request) -> np.ndarray:
        try:
            return await self.scheduler.submit(request)
        finally:
            self.admission.release(request.permit)


@asynccontextmanager
async def started(bench: Bench) -> AsyncIterator[Bench]:
    """While it serves."""
    bench.scheduler.start()
    try:
        yield bench
    finally:
        await bench.scheduler.stop()


async def settle() -> None:
    """Let everything happen that waits for nothing."""
    for _ in range(20):
        await asyncio.sleep(0)


def shape(batch: Batch | None) -> list[tuple[int, list[int]]]:
    """(slot, lengths) of each segment."""
    assert batch is not None
    return [(segment.slot, [len(item) for item in segment.encodings]) for segment in batch.segments]


def marks(batch: BatchTokens) -> list[int]:
    """Return the mark of each input."""
    first_rows = np.cumsum(batch.lengths) - batch.lengths
    return [int(mark) for mark in batch.token_ids[first_rows]]


async def gone(tasks: list[asyncio.Task[np.ndarray]]) -> None:
    """Their clients leave."""
    for task in tasks:
        task.cancel()
    await settle()
