"""The effect of a hot task on others: it asks for ten times its share of the capacity, nine others for half of theirs.

The share is a tenth of the capacity, which is the throughput of 64 clients in a closed loop over the same ten tasks.
Rounds alternate between the nine alone and the nine beside the hot one, always with the same arrivals of the nine.

    ADAKRON_GLUE_DIR=... python -m benchmarks.serving.fairness [--seconds 30] [--repeats 3]

Writes benchmarks/results/fairness.json.
"""

import argparse

import numpy as np

from benchmarks.report import Target, report
from benchmarks.sentences import single_texts
from benchmarks.serving.load import Results, closed_loop, open_loop_at, poisson
from benchmarks.serving.server import HOST, serving

NUM_TASKS, NUM_TEXTS = 10, 1280  # the first task is the hot one
HOT_SHARE, OTHERS_SHARE = 10.0, 0.5


def arrivals_of(tasks: list[int], per_s: float, seconds: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw arrival times [n] and requests [n]: Poisson, `per_s` for each of `tasks`; request i: task i % NUM_TASKS."""
    times = poisson(per_s * len(tasks), seconds, seed)
    generator = np.random.default_rng(seed)
    rows = generator.integers(0, NUM_TEXTS // NUM_TASKS, len(times))
    return times, rows * NUM_TASKS + generator.choice(tasks, len(times))


def merged(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Both, in the order of their times."""
    times, order = (np.concatenate(pair) for pair in zip(one, other, strict=True))
    by_time = np.argsort(times, kind="stable")
    return times[by_time], order[by_time]


def row(name: str, asked: float, runs: list[Results]) -> dict[str, object]:
    """Medians over the rounds; answers over all of them."""
    number = sum(len(found) for found in runs)
    return {
        "what": name,
        "asked/s": asked,
        "answered/s": float(np.median([found.throughput() for found in runs])),
        "200 %": 100 * sum(len(found.of(200)) for found in runs) / number,
        "429 %": 100 * sum(len(found.of(429)) for found in runs) / number,
        "p50 ms": float(np.median([found.of(200).percentile_ms(50) for found in runs])),
        "p99 ms": float(np.median([found.of(200).percentile_ms(99) for found in runs])),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    alone: list[Results] = []
    nine: list[Results] = []
    hot: list[Results] = []
    with serving(NUM_TASKS) as server:
        requests = server.requests(single_texts(NUM_TEXTS))
        window_s = max(5, given.seconds / 2)
        closed_loop(HOST, server.port, requests, 64, window_s, warmup_s=2).results()
        capacity = closed_loop(HOST, server.port, requests, 64, window_s).results().steady_rate()
        share = capacity / NUM_TASKS
        for repeat in range(given.repeats):
            others = arrivals_of(list(range(1, NUM_TASKS)), OTHERS_SHARE * share, given.seconds, seed=2 * repeat)
            beside = merged(others, arrivals_of([0], HOT_SHARE * share, given.seconds, seed=2 * repeat + 1))
            for runs, (times, order) in ((alone, others), (nine, beside)):
                found = open_loop_at(HOST, server.port, requests, times, given.seconds, order=order).results()
                is_hot = found.index % NUM_TASKS == 0
                runs.append(found.where(~is_hot))
                if is_hot.any():
                    hot.append(found.where(is_hot))
    answered = sum(len(found.of(200)) for found in nine) / sum(map(len, nine))
    slower = [
        with_it.percentile_ms(99) / without.percentile_ms(99) for with_it, without in zip(nine, alone, strict=True)
    ]
    asked = OTHERS_SHARE * share * (NUM_TASKS - 1)
    report(
        "fairness",
        {"tasks": NUM_TASKS, "capacity/s": round(capacity, 1), "seconds": given.seconds, "rounds": given.repeats},
        [
            row("the nine, alone", asked, alone),
            row("the nine, beside the hot one", asked, nine),
            row("the hot one", HOT_SHARE * share, hot),
        ],
        [
            Target("of the nine answered with 200, beside the hot one", answered, "at least", 0.999),
            Target("p99 of the nine over that alone", float(np.median(slower)), "at most", 2.0),
        ],
    )


if __name__ == "__main__":
    main()
