"""Latencies of 64 equal clients in a closed loop: each draws a task and a text for each request, all equally likely.

By default one server with the default settings. With `--target-batch-s 0.03 0.05 0.1` one server with each: rounds
go through all of them in turn, so that the durations of a batch are compared on the same machine.

    ADAKRON_GLUE_DIR=... python -m benchmarks.serving.equal_clients [--seconds 20] [--repeats 5]

Writes benchmarks/results/equal_clients.json.
"""

import argparse
from contextlib import ExitStack

import numpy as np

from benchmarks.report import Target, report
from benchmarks.sentences import single_texts
from benchmarks.serving.load import Results, closed_loop, predict_request
from benchmarks.serving.server import HOST, serving
from service.settings import Settings

NUM_TASKS, NUM_TEXTS, NUM_REQUESTS = 64, 1280, 8192
CLIENTS = 64


def drawn_requests(tasks: list[str], texts: list[str]) -> list[bytes]:
    """Draw NUM_REQUESTS requests of one text each; every task and every text is equally likely in each."""
    generator = np.random.default_rng(0)
    chosen = zip(
        generator.integers(len(tasks), size=NUM_REQUESTS),
        generator.integers(len(texts), size=NUM_REQUESTS),
        strict=True,
    )
    return [predict_request(tasks[task], texts[text]) for task, text in chosen]


def spread(found: Results) -> float:
    """p99 over p50."""
    return found.percentile_ms(99) / found.percentile_ms(50)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    default_s = Settings.model_fields["target_batch_s"].default
    parser.add_argument("--target-batch-s", type=float, nargs="+", default=[default_s])
    given = parser.parse_args()
    found: dict[float, list[Results]] = {seconds: [] for seconds in given.target_batch_s}
    texts = single_texts(NUM_TEXTS)
    with ExitStack() as stack:
        servers = {seconds: stack.enter_context(serving(NUM_TASKS, target_batch_s=str(seconds))) for seconds in found}
        requests = drawn_requests(next(iter(servers.values())).tasks, texts)
        for server in servers.values():
            closed_loop(HOST, server.port, requests, CLIENTS, 3).results()
        for number in range(given.repeats):
            order = np.random.default_rng(number).permutation(NUM_REQUESTS)
            for seconds, server in servers.items():
                load = closed_loop(HOST, server.port, requests, CLIENTS, given.seconds, warmup_s=2, order=order)
                found[seconds].append(load.results())
    rows: list[dict[str, object]] = [
        {
            "target_batch_s": seconds,
            "requests/s": float(np.median([one.steady_rate() for one in runs])),
            "p50 ms": float(np.median([one.percentile_ms(50) for one in runs])),
            "p99 ms": float(np.median([one.percentile_ms(99) for one in runs])),
            "slowest ms": float(np.median([one.percentile_ms(100) for one in runs])),
            "p99 / p50": float(np.median([spread(one) for one in runs])),
            "not 200": sum(len(one) - len(one.of(200)) for one in runs),
        }
        for seconds, runs in found.items()
    ]
    report(
        "equal_clients",
        {"tasks": NUM_TASKS, "clients": CLIENTS, "seconds": given.seconds, "rounds": given.repeats},
        rows,
        [
            Target(
                f"p99 over p50, target_batch_s {seconds:g}",
                float(np.median([spread(one) for one in runs])),
                "at most",
                2.0,
            )
            for seconds, runs in found.items()
        ],
    )


if __name__ == "__main__":
    main()
