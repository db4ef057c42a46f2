"""Nine light tasks beside a hot one, on an engine in simulated time: how much later their answers come."""

import random

import numpy as np

from service.core import Request
from service.scheduling.fair_queue import FairQueue
from tests.support.scheduling import queued

TOKENS_PER_S, PER_BATCH_S = 9000.0, 0.003
BUDGET = 900  # 0.1 s
NUM_LIGHT, LIGHT_SHARE = 9, 0.5  # of a tenth of the capacity each; the hot task always has requests queued
LEAD = 0.2  # of a batch's time: the next one is formed before its end
MEAN_TOKENS = 24
SECONDS, SETTLED_S = 40.0, 2.0


def waits_s(*, hot: bool, again_tokens: int) -> np.ndarray:
    """[n] seconds that the requests of the light tasks take."""
    draw, queue = random.Random(0), FairQueue(lambda _: 1.0)
    per_s = NUM_LIGHT * LIGHT_SHARE * TOKENS_PER_S / MEAN_TOKENS / 10
    arrivals: dict[Request, float] = {}
    waits: list[float] = []
    next_arrival = now = draw.expovariate(per_s)

    def arrive_until(time: float) -> None:
        nonlocal next_arrival
        while next_arrival <= time:
            request = queued(f"light-{draw.randrange(NUM_LIGHT)}", draw.randint(8, 2 * MEAN_TOKENS - 8))
            arrivals[request] = next_arrival
            queue.push(request)
            next_arrival += draw.expovariate(per_s)
        while hot and queue.num_tokens < 4 * BUDGET:
            queue.push(queued("hot", MEAN_TOKENS))

    while now < SECONDS:
        arrive_until(max(now, next_arrival if not hot and not arrivals else now))
        now = max(now, min(arrivals.values(), default=now))
        parts = queue.take(BUDGET, lambda _: False, again_tokens=again_tokens)
        while parts:
            duration_s = PER_BATCH_S + sum(part.num_tokens for part in parts) / TOKENS_PER_S
            arrive_until(now + (1 - LEAD) * duration_s)
            ahead = queue.take(BUDGET, lambda _: False, again_tokens=again_tokens) if hot else []
            arrive_until(now + duration_s)
            now += duration_s
            answered = [arrivals.pop(part.request) for part in parts if part.request in arrivals]
            if now > SETTLED_S:
                waits += [now - at for at in answered]
            parts = ahead if now < SECONDS else []
    return np.array(waits)


def p99_ms(waits: np.ndarray) -> float:
    return 1000 * float(np.percentile(waits, 99))


def test_light_tasks_wait_for_shorter_batches_beside_a_hot_one() -> None:
    """Half a batch for second turns shortens p50 and p99 of the light tasks by a quarter and more."""
    whole = waits_s(hot=True, again_tokens=BUDGET)
    half = waits_s(hot=True, again_tokens=BUDGET // 2)
    assert p99_ms(half) < 0.75 * p99_ms(whole)
    assert np.median(half) < 0.65 * np.median(whole)
    assert p99_ms(waits_s(hot=False, again_tokens=BUDGET)) < 0.2 * p99_ms(half)


def test_the_longest_wait_is_two_batches() -> None:
    """A light task waits for the rest of the running batch and for its own, or for one more that was formed ahead."""
    batch_s = PER_BATCH_S + (BUDGET // 2 + NUM_LIGHT * 2 * MEAN_TOKENS) / TOKENS_PER_S
    assert waits_s(hot=True, again_tokens=BUDGET // 2).max() <= (2 + LEAD) * batch_s
