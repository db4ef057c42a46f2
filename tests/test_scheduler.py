"""Admission, batch formation, fairness and delivery, with a fake engine and no clock."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest

from adapters.encoding import Encoding
from service.core import Batch, Request
from service.errors import InferenceFailed, Overloaded, ShuttingDown
from service.metrics import Metrics
from service.scheduler import Scheduler


def encoding(length: int, mark: int = 0) -> Encoding:
    return Encoding(np.full(length, mark), np.zeros(length, dtype=np.int64), False)


def request(task: str, *lengths: int, slot: int = 0, first_mark: int = 0) -> Request:
    encodings = [encoding(length, first_mark + index) for index, length in enumerate(lengths)]
    return Request(task, slot, encodings, asyncio.get_running_loop().create_future())


class FakeEngine:
    """Answers each input with its mark; holds batches back until `open` is set."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.open = asyncio.Event()
        self.error: Exception | None = None

    async def run(self, batch: Batch) -> list[np.ndarray]:
        self.batches.append(batch)
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return [np.array([[item.token_ids[0]] for item in segment.encodings]) for segment in batch.segments]


def make(execute: Callable[[Batch], Awaitable[list[np.ndarray]]], **limits: int) -> Scheduler:
    defaults = {"max_batch_tokens": 512, "max_requests": 100, "max_inputs": 1000}
    return Scheduler(execute, Metrics(), **(defaults | limits))


@asynccontextmanager
async def started(scheduler: Scheduler) -> AsyncIterator[Scheduler]:
    scheduler.start()
    try:
        yield scheduler
    finally:
        await scheduler.stop()


def queue(scheduler: Scheduler, *requests: Request) -> list[asyncio.Task[np.ndarray]]:
    return [asyncio.ensure_future(scheduler.submit(item)) for item in requests]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def shape(batch: Batch | None) -> list[tuple[int, list[int]]]:
    """(slot, lengths) of each segment."""
    assert batch is not None
    return [(segment.slot, [len(item) for item in segment.encodings]) for segment in batch.segments]


async def test_what_queued_meanwhile_is_the_next_batch() -> None:
    """The first request starts at once; all that come while it runs share the next forward."""
    engine = FakeEngine()
    async with started(make(engine.run)) as scheduler:
        first = queue(scheduler, request("a", 10))
        await settle()
        rest = queue(scheduler, *(request(task, 10, slot=slot) for slot, task in enumerate("abc", 1)))
        await settle()
        assert len(engine.batches) == 1
        engine.open.set()
        await asyncio.gather(*first, *rest)
    assert [batch.num_inputs for batch in engine.batches] == [1, 3]
    assert len(engine.batches[1].segments) == 3


async def test_requests_of_one_adapter_are_one_segment() -> None:
    """Requests of an adapter stand side by side, whatever came between them."""
    scheduler = make(FakeEngine().run)
    queue(scheduler, request("a", 3, slot=1), request("b", 4, slot=2), request("a", 5, slot=1))
    await settle()
    assert sorted(shape(scheduler.form_batch())) == [(1, [3, 5]), (2, [4])]


async def test_token_budget() -> None:
    """A batch never holds more tokens than its budget, and the rest goes into the next ones in order."""
    scheduler = make(FakeEngine().run, max_batch_tokens=512)
    queue(scheduler, *(request("a", 200, first_mark=mark) for mark in range(5)))
    await settle()
    batches = [scheduler.form_batch() for _ in range(3)]
    assert [batch.num_tokens for batch in batches if batch] == [400, 400, 200]
    marks = [int(item.token_ids[0]) for batch in batches if batch for s in batch.segments for item in s.encodings]
    assert marks == [0, 1, 2, 3, 4]
    assert scheduler.form_batch() is None


async def test_large_request_is_spread_over_batches() -> None:
    """A request of many inputs takes several batches and comes back whole and in order."""
    engine = FakeEngine()
    engine.open.set()
    async with started(make(engine.run)) as scheduler:
        big = request("a", *[100] * 23)
        (logits,) = await asyncio.gather(*queue(scheduler, big))
    assert logits[:, 0].tolist() == list(range(23))
    assert len(engine.batches) == 5


async def test_every_request_gets_its_own_rows() -> None:
    """In a mixed batch each request is answered with the logits of its own inputs."""
    engine = FakeEngine()
    engine.open.set()
    async with started(make(engine.run)) as scheduler:
        requests = [request("ab"[i % 2], *[5 + i] * (1 + i % 3), slot=i % 2, first_mark=100 * i) for i in range(9)]
        answers = await asyncio.gather(*queue(scheduler, *requests))
    for index, answer in enumerate(answers):
        assert answer[:, 0].tolist() == [100 * index + k for k in range(1 + index % 3)]


async def test_hot_task_does_not_starve_others() -> None:
    """However much one task has queued, the next batch also serves a task that has just come."""
    scheduler = make(FakeEngine().run)
    queue(scheduler, *(request("hot", 50, slot=1) for _ in range(50)))
    await settle()
    scheduler.form_batch()
    queue(scheduler, request("rare", 50, slot=2))
    await settle()
    batch = scheduler.form_batch()
    assert batch is not None
    assert 2 in {segment.slot for segment in batch.segments}


async def test_backlogged_tasks_get_equal_shares() -> None:
    """Of two tasks that both have plenty queued, neither is served more than one turn ahead."""
    scheduler = make(FakeEngine().run)
    queue(scheduler, *(request("long", 128, slot=1) for _ in range(40)))
    queue(scheduler, *(request("short", 8, slot=2) for _ in range(640)))
    await settle()
    served = {1: 0, 2: 0}
    for _ in range(8):
        for slot, lengths in shape(scheduler.form_batch()):
            served[slot] += sum(lengths)
        assert abs(served[1] - served[2]) <= 512


async def test_abandoned_requests_are_never_computed() -> None:
    """A request whose client has gone is left out when the batch is formed."""
    scheduler = make(FakeEngine().run)
    tasks = queue(scheduler, request("a", 5, first_mark=1), request("a", 6, first_mark=2))
    await settle()
    tasks[0].cancel()
    await settle()
    assert shape(scheduler.form_batch()) == [(0, [6])]
    assert scheduler.form_batch() is None


async def test_only_abandoned_requests_make_no_batch() -> None:
    """Where everybody has gone there is nothing to run, and the queue is empty again."""
    scheduler = make(FakeEngine().run)
    tasks = queue(scheduler, request("a", 5), request("b", 6))
    await settle()
    for task in tasks:
        task.cancel()
    await settle()
    assert scheduler.form_batch() is None
    assert scheduler._depth() == 0
    assert scheduler._num_queued_tokens == 0


async def test_failed_batch_fails_only_its_own_requests() -> None:
    """An error in the engine reaches the requests of that batch; the next batch is served."""
    engine = FakeEngine()
    engine.error = RuntimeError("boom")
    engine.open.set()
    async with started(make(engine.run)) as scheduler:
        with pytest.raises(InferenceFailed, match="boom"):
            await scheduler.submit(request("a", 5))
        engine.error = None
        assert (await scheduler.submit(request("a", 5, first_mark=7)))[0, 0] == 7


async def test_permits_bound_requests_and_inputs() -> None:
    """Beyond the limit of requests or of inputs a permit is refused with a time to wait, and freed when done."""
    scheduler = make(FakeEngine().run, max_requests=2, max_inputs=10)
    with scheduler.admit(1), scheduler.admit(1), pytest.raises(Overloaded) as caught, scheduler.admit(1):
        pass
    assert caught.value.retry_after_s >= 1
    with scheduler.admit(8), pytest.raises(Overloaded), scheduler.admit(3):
        pass
    with scheduler.admit(10):
        pass


async def test_stop_refuses_and_fails_what_waits() -> None:
    """After stop no permit is given, and what was queued is told so."""
    engine = FakeEngine()
    scheduler = make(engine.run)
    scheduler.start()
    running, waiting = queue(scheduler, request("a", 5)), []
    await settle()
    waiting = queue(scheduler, request("a", 5))
    await settle()
    await scheduler.stop()
    with pytest.raises(ShuttingDown), scheduler.admit(1):
        pass
    with pytest.raises(ShuttingDown):
        await waiting[0]
    running[0].cancel()


async def test_timings_are_filled_in() -> None:
    """A request learns how long it waited and how long its batches ran."""
    engine = FakeEngine()
    engine.open.set()
    async with started(make(engine.run)) as scheduler:
        item = request("a", 5)
        await scheduler.submit(item)
    assert item.timings.queue_s >= 0
    assert item.timings.inference_s > 0
