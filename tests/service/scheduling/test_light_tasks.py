"""Nine light tasks beside a hot one, on an engine in simulated time: how much later their answers come."""

import random
from dataclasses import dataclass

import numpy as np
import pytest

from service.core import Request
from service.scheduling.fair_queue import FairQueue
from service.scheduling.throughput import ThroughputEstimator
from tests.support.scheduling import queued

TOKENS_PER_S, PER_BATCH_S = 17_000.0, 0.004
NUM_LIGHT, LIGHT_SHARE = 9, 0.5  # of a tenth of the capacity each; the hot task always has requests queued
LEAD_S = 0.003  # before the end of a batch the next one is formed
MEAN_TOKENS = 24
SECONDS, SETTLED_S = 20.0, 2.0


def measured() -> ThroughputEstimator:
    """The estimate after many full batches."""
    throughput = ThroughputEstimator(max_batch_tokens=4096, target_batch_s=0.1)
    throughput.tokens_per_s = TOKENS_PER_S
    return throughput


@dataclass(frozen=True)
class Found:
    """The outcome of a simulation."""

    waits_s: np.ndarray  # [n] of the light tasks' requests
    tokens_per_s: float  # of all tasks

    @property
    def p99_ms(self) -> float:
        return 1000 * float(np.percentile(self.waits_s, 99))


def simulate(*, hot: bool, is_short: bool = True, light_share: float = LIGHT_SHARE) -> Found:
    """Serve by the scheduler's rules; without `is_short` by those for tasks that do not compete with a backlog."""
    draw, queue, throughput = random.Random(0), FairQueue(lambda _: 1.0), measured()
    budget, per_s = throughput.batch_tokens, NUM_LIGHT * light_share * TOKENS_PER_S / MEAN_TOKENS / 10
    arrivals: dict[Request, float] = {}
    waits: list[float] = []
    next_arrival, now, total = draw.expovariate(per_s), 0.0, 0

    def arrive_until(time: float) -> None:
        nonlocal next_arrival
        while next_arrival <= time:
            request = queued(f"light-{draw.randrange(NUM_LIGHT)}", draw.randint(8, 2 * MEAN_TOKENS - 8))
            arrivals[request] = next_arrival
            queue.push(request)
            next_arrival += draw.expovariate(per_s)
        while hot and queue.num_tokens < 4 * budget:
            queue.push(queued("hot", MEAN_TOKENS))

    def form() -> list[tuple[Request, int]]:
        again, turn = None, None
        if is_short and queue.is_contended(budget // 2):
            again = throughput.contended_tokens(queue.light_tokens(budget // 2))
            turn = throughput.contended_turn_tokens
        parts = queue.take(budget, lambda _: False, again_tokens=again, turn_tokens=turn)
        return [(part.request, part.num_tokens) for part in parts]

    batch: list[tuple[Request, int]] = []
    while now < SECONDS:
        if not batch:
            now = now if hot else max(now, next_arrival)
            arrive_until(now)
            batch = form()
        num_tokens = sum(number for _, number in batch)
        duration_s = PER_BATCH_S + num_tokens / TOKENS_PER_S
        arrive_until(now + duration_s - LEAD_S)
        ahead = form() if queue.num_tokens >= budget else []
        now += duration_s
        arrive_until(now)
        total += num_tokens
        waits += [now - arrivals.pop(request) for request, _ in batch if request in arrivals and now > SETTLED_S]
        batch = ahead or form()
    return Found(np.array(waits), total / now)


@pytest.fixture(scope="module")
def short() -> Found:
    return simulate(hot=True)


def test_light_tasks_wait_for_short_batches_beside_a_hot_one(short: Found) -> None:
    """Short turns more than halve the light tasks' p99, to less than three times that without the hot one."""
    whole = simulate(hot=True, is_short=False)
    assert short.p99_ms < 0.5 * whole.p99_ms
    assert np.median(short.waits_s) < 0.4 * np.median(whole.waits_s)
    assert short.p99_ms < 2.2 * simulate(hot=False).p99_ms


def test_short_batches_cost_some_throughput(short: Found) -> None:
    """While tasks compete with a backlog, the engine computes four fifths of what it does in whole batches, or more;
    also if the light tasks send little."""
    whole = simulate(hot=True, is_short=False)
    assert short.tokens_per_s > 0.8 * whole.tokens_per_s
    assert simulate(hot=True, light_share=0.05).tokens_per_s > 0.7 * whole.tokens_per_s


def test_the_longest_wait_is_two_batches(short: Found) -> None:
    """A light task waits for the rest of the running batch and for its own, or for one more that was formed ahead."""
    num_light = NUM_LIGHT * 2 * MEAN_TOKENS * 2  # tokens of two texts each
    batch_s = PER_BATCH_S + (measured().contended_turn_tokens + num_light) / TOKENS_PER_S
    assert short.waits_s.max() <= 2 * batch_s + LEAD_S
