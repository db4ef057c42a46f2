"""The scheduler's contract (docs/scheduling.md): batches, deadlines, departures, pipelining, delivery."""

import asyncio

import pytest

from service.errors import DeadlineExceeded, InferenceFailed, Overloaded, ShuttingDown
from tests.support.scheduling import Bench, gone, marks, settle, shape, started


async def test_what_queued_meanwhile_is_the_next_batch() -> None:
    """The first request starts at once; all that come while it runs share the next forward."""
    async with started(Bench()) as bench:
        first = await bench.submit(bench.request("a", 10))
        rest = await bench.submit(*(bench.request(task, 10, slot=slot) for slot, task in enumerate("abc", 1)))
        assert len(bench.engine.computed) == 1
        bench.engine.open.set()
        await asyncio.gather(*first, *rest)
    assert [sum(batch.num_inputs) for batch in bench.engine.computed] == [1, 3]
    assert len(bench.engine.computed[1].slots) == 3


async def test_requests_of_one_adapter_are_one_segment() -> None:
    """Requests of one adapter form one segment, also if others came in between; two versions are two segments."""
    bench = Bench()
    tasks = await bench.submit(
        bench.request("a", 3, slot=1),
        bench.request("b", 4, slot=2),
        bench.request("a", 6, slot=3),
        bench.request("a", 5, slot=1),
    )
    assert sorted(shape(bench.scheduler.form_batch())) == [(1, [3, 5]), (2, [4]), (3, [6])]
    await gone(tasks)


async def test_token_budget() -> None:
    """A batch never holds more tokens than its budget, and the rest goes into the next ones in order."""
    bench = Bench(max_batch_tokens=512)
    tasks = await bench.submit(*(bench.request("a", 200, mark=mark) for mark in range(5)))
    batches = [bench.scheduler.form_batch() for _ in range(3)]
    assert [batch.num_tokens for batch in batches if batch] == [400, 400, 200]
    assert [mark for batch in batches if batch for mark in marks(batch.tokens())] == [0, 1, 2, 3, 4]
    assert bench.scheduler.form_batch() is None
    await gone(tasks)


async def test_large_request_is_spread_over_batches() -> None:
    """A request of many inputs takes several batches and comes back whole and in order."""
    bench = Bench()
    bench.engine.open.set()
    async with started(bench):
        (task,) = await bench.submit(bench.request("a", *[100] * 23))
        logits = await task
    assert logits[:, 0].tolist() == list(range(23))
    assert len(bench.engine.computed) == 5


async def test_every_request_gets_its_own_rows() -> None:
    """Each request of a mixed batch is answered with the logits of its own inputs."""
    bench = Bench()
    bench.engine.open.set()
    async with started(bench):
        tasks = await bench.submit(
            *(bench.request("ab"[i % 2], *[5 + i] * (1 + i % 3), slot=i % 2, mark=100 * i) for i in range(9))
        )
        answers = await asyncio.gather(*tasks)
    for index, answer in enumerate(answers):
        assert answer[:, 0].tolist() == [100 * index + k for k in range(1 + index % 3)]


async def test_hot_task_does_not_starve_others() -> None:
    """However much one task has queued, the next batch also serves a task that has just come."""
    bench = Bench()
    tasks = await bench.submit(*(bench.request("hot", 50, slot=1) for _ in range(50)))
    bench.scheduler.form_batch()
    tasks += await bench.submit(bench.request("rare", 50, slot=2))
    assert 2 in dict(shape(bench.scheduler.form_batch()))
    await gone(tasks)


async def test_weights_are_shares() -> None:
    """A task of weight 3 gets three times the tokens of one of weight 1 while both have plenty queued."""
    bench = Bench(weights={"b": 3.0})
    tasks = await bench.submit(
        *(bench.request(task, 32, slot=slot) for slot, task in enumerate("ab") for _ in range(200))
    )
    total = [0, 0]
    for _ in range(8):
        for slot, lengths in shape(bench.scheduler.form_batch()):
            total[slot] += sum(lengths)
    assert total == [1024, 3072]
    await gone(tasks)


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


async def test_the_next_batch_is_prepared_while_one_is_computed() -> None:
    """The next batch is formed and prepared when a full budget is queued, not earlier; it is computed next."""
    async with started(Bench(max_batch_tokens=512)) as bench:
        tasks = await bench.submit(bench.request("a", 10))
        tasks += await bench.submit(*(bench.request("b", 100, mark=mark) for mark in range(1, 6)))
        assert len(bench.engine.prepared) == 1
        tasks += await bench.submit(bench.request("b", 100, mark=6))
        assert [marks(batch) for batch in bench.engine.prepared] == [[0], [1, 2, 3, 4, 5]]
        assert len(bench.engine.computed) == 1
        tasks += await bench.submit(*(bench.request("c", 100, mark=mark) for mark in range(7, 15)))
        assert len(bench.engine.prepared) == 2
        await bench.engine.one_batch()
        assert marks(bench.engine.computed[1]) == [1, 2, 3, 4, 5]
        assert len(bench.engine.prepared) == 3
        bench.engine.open.set()
        await asyncio.gather(*tasks)


async def test_a_backlog_is_prepared_ahead_as_soon_as_a_batch_starts() -> None:
    """A full budget that is already queued is prepared without another request arriving."""
    bench = Bench(max_batch_tokens=512)
    tasks = await bench.submit(*(bench.request("a", 256) for _ in range(6)))
    async with started(bench):
        await settle()
        assert len(bench.engine.prepared) == 2
        assert len(bench.engine.computed) == 1
        bench.engine.open.set()
        await asyncio.gather(*tasks)


@pytest.mark.parametrize(("batch_s", "ahead"), [(1000.0, False), (0.03, True)])
async def test_a_backlog_is_not_prepared_until_the_batch_is_nearly_done(batch_s: float, ahead: bool) -> None:
    """A request that arrives during a long batch gets into the next one, which is prepared before that batch ends."""
    bench = Bench(max_batch_tokens=512)
    bench.throughput.tokens_per_s = 512 / batch_s
    tasks = await bench.submit(*(bench.request("a", 256) for _ in range(6)))
    async with started(bench):
        await settle()
        assert (len(bench.engine.prepared), len(bench.engine.computed)) == (1, 1)
        tasks += await bench.submit(bench.request("b", 10, mark=7))
        if ahead:
            for _ in range(2000):
                if len(bench.engine.prepared) == 2:
                    break
                await asyncio.sleep(0.005)
            assert len(bench.engine.prepared) == 2
        bench.engine.open.set()
        await asyncio.gather(*tasks)
    assert 7 in marks(bench.engine.computed[1])


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


async def test_permits_are_held_until_the_answer() -> None:
    """The tokens that a request holds shrink batch by batch, and are gone with its answer."""
    async with started(Bench(max_batch_tokens=512)) as bench:
        (task,) = await bench.submit(bench.request("a", *[250] * 4))
        assert bench.admission.num_tokens == 1000
        await bench.engine.one_batch()
        assert bench.admission.num_tokens == 500
        assert bench.admission.num_requests == 1
        bench.engine.open.set()
        await task
    assert (bench.admission.num_tokens, bench.admission.num_requests) == (0, 0)


async def test_full_batches_are_measured() -> None:
    """The throughput is that of a batch that left something queued; then a wait can be told."""
    async with started(Bench(max_batch_tokens=512)) as bench:
        tasks = await bench.submit(*(bench.request("a", 250) for _ in range(5)))
        assert bench.throughput.tokens_per_s is None
        bench.clock.now += 5
        await bench.engine.one_batch()
        assert bench.throughput.tokens_per_s == 100
        with pytest.raises(Overloaded, match="an answer would take"):
            bench.admission.check("a", bench.clock.now + 5)
        bench.engine.open.set()
        await asyncio.gather(*tasks)


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


async def test_timings_are_filled_in() -> None:
    """A request learns how long it waited for its first batch and how long its batches ran."""
    async with started(Bench()) as bench:
        first = await bench.submit(bench.request("a", 5))
        request = bench.request("a", 5)
        second = await bench.submit(request)
        bench.clock.now += 3
        await bench.engine.one_batch()
        bench.clock.now += 2
        bench.engine.open.set()
        await asyncio.gather(*first, *second)
    assert (request.timings.queue_s, request.timings.inference_s) == (3, 2)
