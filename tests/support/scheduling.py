"""What the tests of queue, admission and scheduler share: requests, a clock that stands, an executor with gates."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

from adapters.backbone.text_encoder import Encoding
from service.core import Batch, Request
from service.observability.metrics import Metrics
from service.scheduling.admission import Admission, Bounds
from service.scheduling.scheduler import Scheduler
from service.scheduling.throughput import ThroughputEstimator

BOUNDS = Bounds(max_requests=1000, max_tokens=100_000, max_wait_s=1e9)


def encoding(length: int, mark: int = 0) -> Encoding:
    """An input of `length` tokens that a FakeExecutor answers with `mark`."""
    return Encoding(np.full(length, mark), np.zeros(length, dtype=np.int64), False)


def queued(task: str, *lengths: int, slot: int = 0) -> Request:
    """A request for a queue, without anybody who waits for it."""
    return Request(task, slot, [encoding(length) for length in lengths], done=None)  # type: ignore[arg-type]  # unused


@dataclass
class Clock:
    """Stands until it is set."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeExecutor:
    """Answers each input with its mark; holds batches back while `open` is not set."""

    prepared: list[Batch] = field(default_factory=list)
    computed: list[Batch] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    can_prepare: asyncio.Event = field(default_factory=asyncio.Event)
    prepare_error: Exception | None = None
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.can_prepare.set()

    async def prepare(self, batch: Batch) -> Batch:
        self.prepared.append(batch)
        await self.can_prepare.wait()
        if self.prepare_error is not None:
            raise self.prepare_error
        return batch

    async def compute(self, batch: Batch) -> list[np.ndarray]:
        self.computed.append(batch)
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return [np.array([[item.token_ids[0]] for item in segment.encodings]) for segment in batch.segments]

    async def one_batch(self) -> None:
        """Let the batch that is held back, and no other, be answered."""
        self.open.set()
        self.open.clear()
        await settle()


@dataclass
class Bench:
    """A scheduler on a fake executor and a clock."""

    max_batch_tokens: int = 512
    target_batch_s: float = 1e9
    bounds: Bounds = BOUNDS
    weights: dict[str, float] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    executor: FakeExecutor = field(default_factory=FakeExecutor)

    def __post_init__(self) -> None:
        self.throughput = ThroughputEstimator(
            max_batch_tokens=self.max_batch_tokens, target_batch_s=self.target_batch_s
        )
        weight = self.weight
        self.admission = Admission(self.bounds, self.throughput, weight=weight, clock=self.clock)
        self.metrics = Metrics()
        self.scheduler = Scheduler(
            self.executor, self.admission, self.throughput, self.metrics, weight=weight, clock=self.clock
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


def marks(batch: Batch) -> list[int]:
    """Of each input."""
    return [int(item.token_ids[0]) for segment in batch.segments for item in segment.encodings]


async def gone(tasks: list[asyncio.Task[np.ndarray]]) -> None:
    """Their clients leave."""
    for task in tasks:
        task.cancel()
    await settle()
