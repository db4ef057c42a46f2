"""A server with default settings under overload: an open loop at 1, 2, 5 and 10 times its capacity.

The capacity is the throughput of 64 clients in a closed loop, measured before and after each level; the mean counts.
Goodput counts answers with 200 within the deadline of the requests. From 5 s after each level on the load is half the
first capacity: on that server, and then as long on a second server that never had more. Both figures are from the same
minute, because the speed of the machine may have changed since the start.

    ADAKRON_GLUE_DIR=... python -m benchmarks.serving.overload [--seconds 60] [--timeout-ms 5000]

Writes benchmarks/results/overload.json.
"""

import argparse
import time

from benchmarks.report import Target, report
from benchmarks.sentences import single_texts
from benchmarks.serving.load import NO_ANSWER, Load, Results, closed_loop, open_loop
from benchmarks.serving.server import HOST, Serving, serving

LEVELS = (1, 2, 5, 10)
NORMAL_AFTER_S = 5.0
NORMAL = {50: 1.2, 99: 1.5}  # percentiles this much above those of a rested server still count as normal
REFUSED, TOO_LATE = 429, 504


def most_memory(server: Serving, until: float) -> int:
    """Bytes that the server has held, looked at twice a second `until` that time."""
    most = server.rss_bytes
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(0.5, left))
        most = max(most, server.rss_bytes)
    return most


def row(level: str, asked: float, found: Results, deadline_s: float, memory_bytes: int) -> dict[str, object]:
    """Make the row of one level."""
    good, refused, number = found.of(200), found.of(REFUSED), len(found)
    return {
        "load": level,
        "asked/s": asked,
        "goodput/s": found.throughput(within_s=deadline_s),
        "200 %": 100 * len(good) / number,
        "429 %": 100 * len(refused) / number,
        "504": len(found.of(TOO_LATE)),
        "other": number - len(good) - len(refused) - len(found.of(TOO_LATE)) - len(found.of(NO_ANSWER)),
        "no answer": len(found.of(NO_ANSWER)),
        "p50 ms": good.percentile_ms(50),
        "p99 ms": good.percentile_ms(99),
        "refusal p50 ms": refused.percentile_ms(50),
        "refusal p99 ms": refused.percentile_ms(99),
        "memory MB": memory_bytes / 1e6,
        "load us": 1e6 * found.cpu_s / number,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--timeout-ms", type=int, default=5000)
    given = parser.parse_args()
    deadline_s = given.timeout_ms / 1000
    texts = single_texts(1280)
    rows: list[dict[str, object]] = []
    capacities: list[float] = []
    level_runs: list[Results] = []
    peaks: list[int] = []
    normal: list[Results] = []
    rest: list[Results] = []
    with serving(64) as server, serving(64) as rested:
        requests = server.requests(texts, {"X-Request-Timeout-Ms": str(given.timeout_ms)})

        def capacity_per_s(of: Serving) -> float:
            load = closed_loop(HOST, of.port, requests, 64, max(5, given.seconds / 4), warmup_s=2)
            return load.results().steady_rate()

        def ask(rate_per_s: float, seconds: float) -> Load:
            """An open loop whose server's memory is watched to the end of its window."""
            load = open_loop(HOST, server.port, requests, rate_per_s, seconds, seed=len(peaks))
            peaks.append(most_memory(server, load.begin + seconds))
            return load

        for one in (rested, server):
            capacity_per_s(one)  # warms up
        half_per_s = capacity_per_s(server) / 2
        before = ask(half_per_s, given.seconds / 2).results()
        rows.append(row("0.5, before", half_per_s, before, deadline_s, peaks[-1]))
        for level in LEVELS:
            before_per_s = capacity_per_s(server)
            load = ask(level * before_per_s, given.seconds)
            memory_bytes = peaks[-1]
            time.sleep(NORMAL_AFTER_S)
            after = ask(half_per_s, given.seconds / 2)  # whether or not everything of the overload is answered by now
            level_runs.append(load.results())
            normal.append(after.results())
            rest.append(
                open_loop(HOST, rested.port, requests, half_per_s, given.seconds / 2, seed=len(peaks)).results()
            )
            capacities.append((before_per_s + capacity_per_s(server)) / 2)
            rows.append(row(str(level), level * before_per_s, level_runs[-1], deadline_s, memory_bytes))
            rows.append(row(f"0.5, 5 s after {level}", half_per_s, normal[-1], deadline_s, peaks[-1]))
            rows.append(row("0.5, the rested server then", half_per_s, rest[-1], deadline_s, rested.rss_bytes))
    goodput = min(
        found.throughput(within_s=deadline_s) / capacity for found, capacity in zip(level_runs, capacities, strict=True)
    )
    refusal_ms = [found.of(REFUSED).percentile_ms(99) for found in level_runs if len(found.of(REFUSED))]
    slower = {
        percent: max(
            busy.percentile_ms(percent) / idle.percentile_ms(percent) for busy, idle in zip(normal, rest, strict=True)
        )
        for percent in (50, 99)
    }
    not_good = sum(len(found) - len(found.of(200)) for found in normal)
    report(
        "overload",
        {
            "tasks": 64,
            "capacities/s": [round(capacity, 1) for capacity in capacities],
            "seconds": given.seconds,
            "timeout_ms": given.timeout_ms,
        },
        rows,
        [
            Target("goodput over capacity, the worst level", goodput, "at least", 0.9),
            Target("p99 of refusals in ms, the worst level", max(refusal_ms, default=float("nan")), "at most", 50),
            Target("most memory over that before", max(peaks) / peaks[0], "at most", 1.1),
            Target("5 s after: p50 over that of the rested server, the worst", slower[50], "at most", NORMAL[50]),
            Target("5 s after: p99 over that of the rested server, the worst", slower[99], "at most", NORMAL[99]),
            Target("5 s after: not answered with 200", not_good, "at most", 0),
        ],
    )


if __name__ == "__main__":
    main()
