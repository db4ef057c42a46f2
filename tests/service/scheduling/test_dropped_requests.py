"""Scheduler: abandoned, expired and failed requests leave no trace in other requests."""

import asyncio

import pytest

from service.errors import DeadlineExceeded, InferenceFailed, ShuttingDown
from tests.support.scheduling import Bench, gone, marks, settle, started


async def test_abandoned_requests_are_never_computed() -> None:
    """A request whose client has gone leaves the queue, and what it held is free."""
    async with started(Bench()) as bench:
        first = await bench.submit(bench.request("a", 5))
        left, stays = await bench.submit(bench.request("a", 5, mark=1), bench.request("a", 6, mark=2))
        await gone([left])
        assert bench.admission.num_tokens == 11
        assert bench.admission.num_requests == 2
        bench.engine.open.set()
        await asyncio.gather(*first, stays)
    assert [marks(batch) for batch in bench.engine.computed] == [[0], [2]]


async def test_only_abandoned_requests_make_no_batch() -> None:
    """A queue of abandoned requests gives no batch, and is empty afterwards."""
    bench = Bench()
    await gone(await bench.submit(bench.request("a", 5), bench.request("b", 6)))
    assert bench.scheduler.form_batch() is None
    bench.metrics.read_state()
    assert bench.metrics.registry.get_sample_value("adakron_queue_depth") == 0
    assert bench.metrics.registry.get_sample_value("adakron_queued_tokens") == 0


async def test_expired_requests_are_never_computed() -> None:
    """A request that has expired when the batch is formed fails, and takes no room in it."""
    async with started(Bench()) as bench:
        first = await bench.submit(bench.request("a", 5))
        late, good = await bench.submit(
            bench.request("b", 5, mark=1, limit_s=10), bench.request("b", 5, mark=2, limit_s=11)
        )
        bench.clock.now += 10
        await bench.engine.one_batch()
        with pytest.raises(DeadlineExceeded):
            await late
        bench.engine.open.set()
        await asyncio.gather(*first, good)
    assert [marks(batch) for batch in bench.engine.computed] == [[0], [2]]


async def test_requests_that_would_be_late_are_not_computed() -> None:
    """A request that would expire before its batch ends, at the measured speed, fails when the batch is formed, and
    leaves its place to a request that can be answered in time."""
    bench = Bench(max_batch_tokens=512)
    first, late, last = await bench.submit(
        *(bench.request("a", 256, mark=mark, limit_s=limit_s) for mark, limit_s in enumerate((6, 5, 6)))
    )
    bench.throughput.observe(100, 1.0, full=True)
    batch = bench.scheduler.form_batch()
    assert batch is not None
    assert marks(batch.tokens()) == [0, 2]
    with pytest.raises(DeadlineExceeded):
        await late
    await gone([first, last])


async def test_the_rest_of_an_expired_request_is_not_computed() -> None:
    """A large request that expires after its first batch gets no other batch."""
    async with started(Bench()) as bench:
        (large,) = await bench.submit(bench.request("a", *[200] * 4, limit_s=10))
        bench.clock.now += 10
        bench.engine.open.set()
        with pytest.raises(DeadlineExceeded):
            await large
        await settle()
    assert [marks(batch) for batch in bench.engine.computed] == [[0, 1]]


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_batch_formed_ahead_is_pruned(leaves: bool) -> None:
    """A request that leaves or expires after its batch was prepared is removed from it before it is computed, and its
    task is not charged."""
    async with started(Bench(max_batch_tokens=512)) as bench:
        tasks = await bench.submit(bench.request("a", 10))
        dead, *rest = await bench.submit(
            bench.request("b", 200, mark=1, limit_s=10), *(bench.request("b", 120, mark=mark) for mark in (2, 3, 4))
        )
        assert marks(bench.engine.prepared[1]) == [1, 2, 3]
        if leaves:
            await gone([dead])
        else:
            bench.clock.now += 10
        bench.engine.open.set()
        await asyncio.gather(*tasks, *rest)
        with pytest.raises(asyncio.CancelledError if leaves else DeadlineExceeded):
            await dead
    assert [marks(batch) for batch in bench.engine.computed] == [[0], [2, 3], [4]]
    assert bench.admission.num_tokens == 0


async def test_a_batch_formed_ahead_of_which_nothing_is_left() -> None:
    """If all requests of a prepared batch have left, the next queued request is computed."""
    async with started(Bench(max_batch_tokens=512)) as bench:
        tasks = await bench.submit(bench.request("a", 10))
        dead = await bench.submit(bench.request("b", 512, mark=1))
        tasks += await bench.submit(bench.request("b", 100, mark=2))
        assert len(bench.engine.prepared) == 2
        await gone(dead)
        bench.engine.open.set()
        await asyncio.gather(*tasks)
    assert [marks(batch) for batch in bench.engine.computed] == [[0], [2]]


async def test_failed_batch_fails_only_its_own_requests() -> None:
    """An error in the engine reaches the requests of that batch; the next batch is served."""
    async with started(Bench()) as bench:
        (bad,) = await bench.submit(bench.request("a", 5))
        (good,) = await bench.submit(bench.request("a", 5, mark=7))
        bench.engine.error = RuntimeError("boom")
        await bench.engine.one_batch()
        with pytest.raises(InferenceFailed, match="boom"):
            await bad
        bench.engine.error = None
        bench.engine.open.set()
        assert (await good)[0, 0] == 7


async def test_failed_prepare_fails_only_its_own_requests() -> None:
    """An error while the next batch is prepared reaches its requests, not those of the batch that is computed."""
    async with started(Bench(max_batch_tokens=512)) as bench:
        running = await bench.submit(bench.request("a", 5, mark=1))
        bench.engine.prepare_error = RuntimeError("boom")
        (bad,) = await bench.submit(bench.request("b", 512))
        with pytest.raises(InferenceFailed, match="boom"):
            await bad
        bench.engine.prepare_error = None
        later = await bench.submit(bench.request("b", 5, mark=2))
        bench.engine.open.set()
        assert [answer[0, 0] for answer in await asyncio.gather(*running, *later)] == [1, 2]


async def test_the_rest_of_a_failed_request_is_not_computed() -> None:
    """When one batch of a large request fails, its queued and prepared rest is dropped; other requests continue."""
    async with started(Bench(max_batch_tokens=512)) as bench:
        (large,) = await bench.submit(bench.request("a", *[250] * 7))
        (other,) = await bench.submit(bench.request("b", 250, mark=50))
        assert len(bench.engine.prepared) == 2
        bench.engine.error = RuntimeError("boom")
        await bench.engine.one_batch()
        with pytest.raises(InferenceFailed):
            await large
        bench.engine.error = None
        bench.engine.open.set()
        assert (await other)[0, 0] == 50
    assert [marks(batch) for batch in bench.engine.computed] == [[0, 1], [50]]
    assert bench.admission.num_tokens == 0


async def test_a_wrong_number_of_answers_is_a_failure() -> None:
    """An engine that forgets a segment fails its batch, and no request hangs or gets another's rows."""
    bench = Bench()
    bench.engine.open.set()
    whole = bench.engine.compute

    async def compute(batch):  # type: ignore[no-untyped-def]  # as it is
        return (await whole(batch))[1:]

    bench.engine.compute = compute  # type: ignore[method-assign]  # a broken one
    async with started(bench):
        (task,) = await bench.submit(bench.request("a", 5))
        with pytest.raises(InferenceFailed):
            await task


async def test_stop_refuses_and_fails_what_waits() -> None:
    """After stop no permit is given, and queued, prepared and running requests fail with ShuttingDown."""
    bench = Bench(max_batch_tokens=512)
    bench.scheduler.start()
    tasks = await bench.submit(bench.request("a", 5))
    late = bench.request("a", 5)
    tasks += await bench.submit(*(bench.request("a", 200) for _ in range(5)))
    assert len(bench.engine.prepared) == 2
    await bench.scheduler.stop()
    assert bench.admission.closing
    with pytest.raises(ShuttingDown):
        bench.admission.check("a", 1e9)
    for task in [*tasks, *await bench.submit(late)]:
        with pytest.raises(ShuttingDown):
            await task
    assert bench.admission.num_requests == 0
