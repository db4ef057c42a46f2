"""The scheduler's contract (docs/scheduling.md): batches, deadlines, departures, pipelining, delivery."""

import asyncio

import pytest

from service.errors import Overloaded
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


@pytest.mark.parametrize(("num_queued", "ahead"), [(2, False), (3, True)])
async def test_half_of_a_long_batch_suffices_to_form_the_next_ahead(num_queued: int, ahead: bool) -> None:
    """When a batch of which the lead is a small part is nearly done, half as many queued tokens are the next batch."""
    bench = Bench(max_batch_tokens=2048)
    bench.throughput.tokens_per_s = 5_000
    tasks = await bench.submit(*(bench.request("a", 100) for _ in range(6)))
    async with started(bench):
        await settle()
        tasks += await bench.submit(*(bench.request("b", 100, mark=mark) for mark in range(1, 1 + num_queued)))
        assert len(bench.engine.prepared) == 1
        await asyncio.sleep(0.3)  # the batch should take 0.12 s
        assert len(bench.engine.prepared) == 1 + ahead
        bench.engine.open.set()
        await asyncio.gather(*tasks)


async def test_without_competing_tasks_a_batch_takes_the_whole_budget() -> None:
    """A task that is alone leaves no room for others; beside a light task its backlog is served in short batches."""
    bench = Bench(max_batch_tokens=2048, target_batch_s=0.2)
    bench.throughput.tokens_per_s = 10_000
    tasks = await bench.submit(*(bench.request("hot", 100) for _ in range(60)))
    batch = bench.scheduler.form_batch()
    assert batch is not None
    assert batch.num_tokens == 2000
    tasks += await bench.submit(bench.request("rare", 100, slot=1))
    assert sorted(shape(bench.scheduler.form_batch())) == [(0, [100, 100]), (1, [100])]
    batch = bench.scheduler.form_batch()
    assert batch is not None
    assert batch.num_tokens == 200
    await gone(tasks)


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
