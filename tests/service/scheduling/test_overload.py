"""Ten times the capacity in simulated time: 5,000 tokens a second, 64 tasks, requests that have a second."""

import asyncio
import random
from contextlib import suppress

import numpy as np
import pytest

from service.errors import DeadlineExceeded, Overloaded
from service.scheduling.admission import Bounds
from tests.support.scheduling import Bench, settle, started

pytestmark = pytest.mark.alone

TOKENS_PER_S = 5000
LENGTH = 30
SECONDS = 6.0
FIRST_S = 1.0  # in which the engine's speed is not known yet; not counted
LIMIT_S = 1.0


@pytest.mark.parametrize("tokens_per_s", [600, 1_000, 5_000, 500_000])
async def test_a_cold_start_keeps_the_limit(tokens_per_s: int) -> None:
    """500 clients send to a server that has computed nothing yet: each answer comes within the limit plus a batch, and
    other requests are refused at once with a Retry-After. A fast engine is recognized after two batches.
    """
    limit_s, clients = 2.0, 500
    bounds = Bounds(max_requests=1024, max_tokens=262_144, max_wait_s=limit_s)
    async with started(Bench(max_batch_tokens=4096, target_batch_s=0.1, bounds=bounds)) as bench:
        engine, clock, begin = bench.engine, bench.clock, bench.clock.now
        answers: list[asyncio.Task[np.ndarray]] = []
        waits: list[int] = []

        async def ask(count: int) -> int:
            for done in range(count):
                try:
                    answers.extend(await bench.submit(bench.request("a", LENGTH)))
                except Overloaded as refused:
                    waits.append(refused.retry_after_s)
                    return done
            return count

        async def compute() -> float:
            batch_s = engine.computed[-1].num_tokens / tokens_per_s
            clock.now += batch_s
            await engine.one_batch()
            return batch_s

        admitted = await ask(clients)
        assert 10 < admitted < clients
        longest_s = max([await compute() for _ in range(2)])
        assert (await ask(clients) == clients) == (tokens_per_s == 500_000)
        while not all(answer.done() for answer in answers[:admitted]):
            longest_s = max(longest_s, await compute())
        assert clock.now - begin <= limit_s + longest_s
        assert min(waits) >= 1
        engine.open.set()
        await asyncio.gather(*answers)


@pytest.mark.parametrize("load", [1.5, 10.0])
async def test_goodput_under_overload(load: float) -> None:
    """Answers in time reach at least nine tenths of the engine's capacity, and few admitted requests are late; the rest
    is refused on arrival."""
    draw = random.Random(0)
    num_good = num_late = num_refused = num_done = 0
    answers: set[asyncio.Task[None]] = set()
    async with started(Bench(max_batch_tokens=512)) as bench:
        engine, clock = bench.engine, bench.clock
        begin, busy_until = clock.now, float("inf")

        async def answer(task: asyncio.Task[np.ndarray], deadline: float) -> None:
            nonlocal num_good, num_late
            try:
                await task
            except DeadlineExceeded:
                num_late += 1
            else:
                num_good += clock.now <= deadline
                num_late += clock.now > deadline

        async def ignore(task: asyncio.Task[np.ndarray]) -> None:
            await asyncio.wait([task])
            task.exception()

        arrival = begin
        while arrival < begin + SECONDS:
            if busy_until <= arrival:
                clock.now = busy_until
                num_done += 1
                await engine.one_batch()
                busy_until = float("inf")
            else:
                clock.now = arrival
                arrival += draw.expovariate(load * TOKENS_PER_S / LENGTH)
                try:
                    request = bench.request(f"task{draw.randrange(64)}", LENGTH, limit_s=LIMIT_S)
                except Overloaded:
                    num_refused += 1
                    continue
                (task,) = await bench.submit(request)
                if arrival < begin + FIRST_S:
                    answers.add(asyncio.create_task(ignore(task)))
                else:
                    answers.add(asyncio.create_task(answer(task, request.permit.deadline)))
            if busy_until == float("inf") and len(engine.computed) > num_done:
                busy_until = clock.now + engine.computed[-1].num_tokens / TOKENS_PER_S
        engine.open.set()
        await asyncio.gather(*answers)
    await settle()
    assert num_good >= 0.9 * (SECONDS - FIRST_S) * TOKENS_PER_S / LENGTH
    assert num_late <= 0.15 * num_good
    assert num_refused > 0
    assert (bench.admission.num_tokens, bench.admission.num_requests) == (0, 0)


async def test_after_an_overload_it_serves_as_before() -> None:
    """Half the capacity is answered as fast 5 s after an overload of ten times the capacity as it was before: neither
    queue, admission nor the estimated speed keeps anything of it.
    """
    limit_s = 2.0
    bounds = Bounds(max_requests=1024, max_tokens=262_144, max_wait_s=limit_s)
    async with started(Bench(max_batch_tokens=4096, target_batch_s=0.1, bounds=bounds)) as bench:
        await _play(bench, load=1.0, seconds=2.0, seed=0)  # the speed is known
        before = await _play(bench, load=0.5, seconds=6.0, seed=1)
        overload = await _play(bench, load=10.0, seconds=4.0, seed=2)
        bench.clock.now += 5.0
        after = await _play(bench, load=0.5, seconds=6.0, seed=1)
    for percent in (50, 99):
        assert np.percentile(after, percent) <= 1.05 * np.percentile(before, percent)
        assert np.percentile(overload, percent) > 2 * np.percentile(before, percent)


async def _play(bench: Bench, load: float, seconds: float, seed: int) -> list[float]:
    """Send requests for 64 tasks at `load` times the capacity; return how long each admitted one took, in seconds.

    A batch takes 5 ms and the time of its tokens. Returns when everything is answered.
    """
    draw, clock, engine = random.Random(seed), bench.clock, bench.engine
    end, arrival, busy_until = clock.now + seconds, clock.now, float("inf")
    num_done, answers, took = len(engine.computed), list[asyncio.Task[None]](), list[float]()

    async def answer(task: asyncio.Task[np.ndarray], sent: float) -> None:
        await asyncio.wait([task])
        if task.exception() is None:
            took.append(clock.now - sent)

    while arrival < end or busy_until < float("inf"):
        if busy_until <= arrival or arrival >= end:
            clock.now = busy_until
            num_done += 1
            await engine.one_batch()
            busy_until = float("inf")
        else:
            clock.now = arrival
            arrival += draw.expovariate(load * TOKENS_PER_S / LENGTH)
            with suppress(Overloaded):
                request = bench.request(f"task{draw.randrange(64)}", draw.randint(8, 2 * LENGTH - 8))
                (task,) = await bench.submit(request)
                answers.append(asyncio.create_task(answer(task, clock.now)))
        if busy_until == float("inf") and len(engine.computed) > num_done:
            busy_until = clock.now + 0.005 + engine.computed[-1].num_tokens / TOKENS_PER_S
    await asyncio.gather(*answers)
    return took
