"""Throughput against the number of adapters: 1 to 4,096 tasks, asked for uniformly and by Zipf's law (s = 1).

64 requests of one text are under way through cache, scheduler and engine, without HTTP; the registry is SQLite. All
adapters are loaded, except in the last row: there 1,024 tasks share the room of 256. Rounds go through all rows in
turn; ratios are within a round, medians over the rounds. Also what the loaded adapters cost in memory.

    ADAKRON_GLUE_DIR=... python -m benchmarks.serving.adapters_sweep [--seconds 5] [--repeats 7]

Writes benchmarks/results/adapters_sweep.json.
"""

import argparse
import asyncio
import gc
import multiprocessing
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from adapters.backbone.files import find_backbone
from benchmarks.report import Target, report
from benchmarks.sentences import single_texts
from benchmarks.serving.server import publish_random
from benchmarks.serving.without_http import parts_of, tokens_per_s, without_http
from service.api.state import ServerState
from service.core import PublishedVersion

NUM_TASKS = (1, 32, 33, 256, 1024, 4096)
NUM_REQUESTS = 1 << 16  # drawn beforehand, then again from the first
ROOMY_BYTES = 1 << 40
SCARCE_TASKS, SCARCE_ROOM = 1024, 256
SCARCE_WARMUP_S = 10.0


@dataclass(frozen=True)
class Case:
    """One row."""

    num_tasks: int
    popularity: str  # uniform, zipf
    room: int  # adapters that fit

    def order(self) -> np.ndarray:
        """[NUM_REQUESTS] which task each request is for; a task's rank says nothing of its number."""
        generator = np.random.default_rng(0)
        weights = np.ones(self.num_tasks) if self.popularity == "uniform" else 1 / np.arange(1, self.num_tasks + 1)
        ranks = generator.choice(self.num_tasks, NUM_REQUESTS, p=weights / weights.sum())
        return generator.permutation(self.num_tasks)[ranks]


def cases(most: int) -> list[Case]:
    """Those with `most` tasks at most."""
    found = [Case(1, "uniform", most)]
    for number in NUM_TASKS[1:]:
        found += [Case(number, "uniform", most), Case(number, "zipf", most)]
    found.append(Case(SCARCE_TASKS, "zipf", SCARCE_ROOM))
    return [case for case in found if case.num_tasks <= most]


def private_bytes() -> int:
    """Memory that only this process holds, the engine included."""
    gc.collect()
    return int(psutil.Process().memory_full_info().uss)


async def publish(state: ServerState, number: int) -> list[PublishedVersion]:
    """Publish `number` random adapters from another process, and return the live versions."""
    context = multiprocessing.get_context("spawn")
    publisher = context.Process(
        target=publish_random, args=(state.settings.resolved_registry_url, state.backbone, number)
    )
    publisher.start()
    await asyncio.to_thread(publisher.join)
    return (await state.follower.refresh()).live()


async def measure(folder: Path, most: int, seconds: float, repeats: int) -> tuple[dict[Case, list[float]], int, int]:
    """Tokens per second of each case in each round; bytes that the loaded adapters have, and that they cost."""
    encodings = find_backbone().encoder.encode(single_texts(1280), max_length=128)
    rates: dict[Case, list[float]] = {case: [] for case in cases(most)}
    async with without_http(folder, ROOMY_BYTES) as roomy:
        before = private_bytes()
        versions = await publish(roomy, most)
        parts = parts_of(roomy)
        for version in versions:
            await parts.adapter_cache.warm(version.adapter)
        own, cost = parts.adapter_cache.used_bytes, private_bytes() - before
        async with without_http(folder, own * SCARCE_ROOM // most) as scarce:
            for number in range(repeats):
                for case in rates:
                    chosen = [versions[task] for task in case.order()]
                    state = roomy if case.room == most else scarce
                    warmup_s = SCARCE_WARMUP_S if state is scarce and number == 0 else 1.0
                    rates[case].append(await tokens_per_s(state, chosen, encodings, seconds, warmup_s=warmup_s))
    return rates, own, cost


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--most", type=int, default=NUM_TASKS[-1], help="tasks, at least 33; fewer take less memory")
    given = parser.parse_args()
    if given.most < 33:
        parser.error("--most: the step from 32 to 33 tasks is part of the table, so give at least 33")
    with tempfile.TemporaryDirectory() as folder:
        rates, own, cost = asyncio.run(measure(Path(folder), given.most, given.seconds, given.repeats))

    def ratio(case: Case, base: Case) -> float:
        return float(np.median(np.array(rates[case]) / np.array(rates[base])))

    one = next(iter(rates))
    rows = [
        {
            "tasks": case.num_tasks,
            "asked for": case.popularity,
            "room for": "all" if case.room == given.most else f"{case.room}",
            "tokens/s": float(np.median(values)),
            "of 1 task": ratio(case, one),
        }
        for case, values in rates.items()
    ]
    most_tasks = max(case.num_tasks for case in rates)
    targets = [
        Target(f"{kind}: {most_tasks:,} tasks over 1", ratio(Case(most_tasks, kind, given.most), one), "at least", 0.95)
        for kind in ("uniform", "zipf")
    ]
    scarce = Case(SCARCE_TASKS, "zipf", SCARCE_ROOM)
    if scarce in rates:
        share = ratio(scarce, Case(SCARCE_TASKS, "zipf", given.most))
        targets.append(Target(f"{SCARCE_TASKS:,} tasks, room for {SCARCE_ROOM}, over all", share, "at least", 0.8))
    targets.append(Target(f"memory of {given.most:,} adapters over their bytes", cost / own, "at most", 1.1))
    step = ratio(Case(33, "uniform", given.most), Case(32, "uniform", given.most))
    report(
        "adapters_sweep",
        {"under way": 64, "seconds": given.seconds, "rounds": given.repeats, "adapter bytes": own // given.most},
        rows,
        targets,
        [f"From 32 to 33 tasks: {step:.3f} of the throughput. Adapters of {own / 1e6:,.0f} MB took {cost / 1e6:,.0f}."],
    )


if __name__ == "__main__":
    main()
