"""The cost of HTTP, JSON, tokenizing and scheduling: the service against the engine alone.

One text a request, 64 tasks, closed loop at 1, 8 and 64 clients, over loopback from a process of its own on the same
cores. The engine alone runs the same texts in batches as full as the token budget allows, and one by one, while the
server is idle. Rounds alternate; ratios are within a round, medians over the rounds.

    ADAKRON_GLUE_DIR=... python -m benchmarks.serving.service [--seconds 10] [--repeats 5]

Writes benchmarks/results/service.json.
"""

import argparse

import numpy as np

from benchmarks.engine.alone import EngineAlone
from benchmarks.report import Target, report
from benchmarks.sentences import single_texts
from benchmarks.serving.load import Results, closed_loop
from benchmarks.serving.server import HOST, serving

NUM_TASKS, NUM_TEXTS = 64, 1280
CLIENTS = (1, 8, 64)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    texts = single_texts(NUM_TEXTS)
    engine = EngineAlone(texts, NUM_TASKS)
    engine.tokens_per_s(2)  # warms up
    num_tokens = np.array(engine.num_tokens)
    mean_tokens = float(num_tokens.mean())
    full: list[float] = []
    single_s: list[float] = []
    found: dict[int, list[Results]] = {clients: [] for clients in CLIENTS}
    with serving(NUM_TASKS) as server:
        requests = server.requests(texts)
        closed_loop(HOST, server.port, requests, 64, 2).results()
        for _ in range(given.repeats):
            full.append(engine.tokens_per_s(given.seconds))
            single_s.append(float(np.median(engine.forward_s(given.seconds / 2))))
            for clients in CLIENTS:
                load = closed_loop(HOST, server.port, requests, clients, given.seconds, warmup_s=1)
                found[clients].append(load.results())
    shares = {
        clients: [results.steady_rate(num_tokens) / best for results, best in zip(found[clients], full, strict=True)]
        for clients in CLIENTS
    }
    beyond_ms = [results.percentile_ms(50) - one_s * 1000 for results, one_s in zip(found[1], single_s, strict=True)]
    rows: list[dict[str, object]] = [
        {
            "what": "engine alone, full batches",
            "requests/s": float(np.median(full)) / mean_tokens,
            "tokens/s": float(np.median(full)),
            "share of engine": 1.0,
            "p50 ms": None,
            "p99 ms": None,
            "not 200": None,
        },
        {
            "what": "engine alone, one text",
            "requests/s": 1 / float(np.median(single_s)),
            "tokens/s": mean_tokens / float(np.median(single_s)),
            "share of engine": mean_tokens / float(np.median(single_s)) / float(np.median(full)),
            "p50 ms": float(np.median(single_s)) * 1000,
            "p99 ms": None,
            "not 200": None,
        },
    ]
    for clients in CLIENTS:
        every = found[clients]
        rows.append(
            {
                "what": f"service, {clients} clients",
                "requests/s": float(np.median([results.steady_rate() for results in every])),
                "tokens/s": float(np.median([results.steady_rate(num_tokens) for results in every])),
                "share of engine": float(np.median(shares[clients])),
                "p50 ms": float(np.median([results.percentile_ms(50) for results in every])),
                "p99 ms": float(np.median([results.percentile_ms(99) for results in every])),
                "not 200": sum(len(results) - len(results.of(200)) for results in every),
            }
        )
    load_us = 1e6 * float(np.median([results.cpu_s / len(results) for results in found[64]]))
    report(
        "service",
        {"tasks": NUM_TASKS, "tokens a text": round(mean_tokens, 1), "seconds": given.seconds, "rounds": given.repeats},
        rows,
        [
            Target("64 clients: share of the engine alone", float(np.median(shares[64])), "at least", 0.9),
            Target("1 client: p50 beyond the bare forward, ms", float(np.median(beyond_ms)), "at most", 2.0),
        ],
        [f"The load itself costs {load_us:.0f} us of a core a request at 64 clients, which is not the service's."],
    )


if __name__ == "__main__":
    main()
