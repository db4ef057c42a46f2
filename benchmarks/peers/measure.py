"""One server under the common load: started, warmed up, measured, weighed, ended."""

import random
from dataclasses import dataclass

from benchmarks.peers.check import check
from benchmarks.peers.contestant import Contestant
from benchmarks.peers.processes import HOST, cpu_s, memory_bytes
from benchmarks.serving.load import closed_loop

CLIENTS = 64
NUM_REQUESTS = 4096  # prepared, sent again and again


@dataclass(frozen=True)
class Measured:
    """One repeat."""

    requests_per_s: float  # answered with 200
    p50_ms: float
    p99_ms: float
    cpu_ms: float  # of the server's processes for one request, warm-up included
    memory_bytes: int  # proportional set size, the larger of before and after
    failures: int
    largest_difference: float | None  # from the model computed alone, where it was checked


def measure(
    contestant: Contestant, texts: list[str], *, seconds: float, warmup_s: float, checked: bool, seed: int = 0
) -> Measured:
    """Texts in turn, each for a task drawn at random, from CLIENTS clients that wait for their answers."""
    generator = random.Random(seed)
    requests = [
        contestant.request(generator.randrange(contestant.num_tasks), texts[number % len(texts)])
        for number in range(NUM_REQUESTS)
    ]
    with contestant.start() as running:
        difference = check(contestant, running, texts) if checked else None
        before, used_s = memory_bytes(running.pid), cpu_s(running.pid)
        results = closed_loop(HOST, running.port, requests, CLIENTS, seconds, warmup_s=warmup_s).results()
        used_s = cpu_s(running.pid) - used_s
        after = memory_bytes(running.pid)
    good = results.of(200)
    return Measured(
        requests_per_s=results.steady_rate(),
        p50_ms=good.percentile_ms(50),
        p99_ms=good.percentile_ms(99),
        cpu_ms=1000 * used_s / max(1.0, len(results) + results.steady_rate() * warmup_s),
        memory_bytes=max(before, after),
        failures=len(results) - len(good),
        largest_difference=difference,
    )
