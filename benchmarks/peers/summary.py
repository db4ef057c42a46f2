"""The medians over the repeats, this server's beside each peer's."""

import statistics
import sys
from collections.abc import Mapping, Sequence

from adapters.backbone.source import load_backbone
from benchmarks.peers.contestant import Contestant
from benchmarks.peers.measure import CLIENTS, Measured
from benchmarks.report import Target, print_table, report
from service.processes.cgroups import num_cores

TIMES_AS_FAST = 3.0


def summarise(
    contestants: Sequence[Contestant],
    measured: Mapping[str, Sequence[Measured]],
    texts: Sequence[str],
    dropped: Mapping[str, str],
    *,
    seconds: float,
) -> None:
    """Print the table and write it; this server counts with the type in which it answers most requests a second."""
    peers = [one for one in contestants if not one.is_ours]
    own = [one for one in contestants if one.is_ours]
    if not own:
        sys.exit(f"this server was dropped, so there is nothing to compare: {_listed(dropped)}")
    ours = max(own, key=lambda one: _median(measured[one.name], "requests_per_s"))
    ratios = {one.name: _ratio(measured[ours.name], measured[one.name]) for one in contestants}
    rows = [_row(one, measured[one.name], ratios[one.name]) for one in contestants]
    mixed = [one for one in peers if one.num_tasks == ours.num_tasks]
    targets = []
    if mixed:
        best = min(mixed, key=lambda one: ratios[one.name])
        least_p99_ms = min(_median(measured[one.name], "p99_ms") for one in mixed)
        p99_share = _median(measured[ours.name], "p99_ms") / least_p99_ms
        targets = [
            Target(f"times the requests/s of the best peer, {best.name}", ratios[best.name], "at least", TIMES_AS_FAST),
            Target("p99 over the least p99 of those peers", p99_share, "at most", 1.0),
        ]
    tokens = [len(encoding) for encoding in load_backbone().encoder.encode(list(texts), max_length=128)]
    settings = {
        "clients": CLIENTS,
        "tokens a text": round(statistics.mean(tokens), 1),
        "seconds": seconds,
        "rounds": len(measured[ours.name]),
        "cores": num_cores(),
    }
    notes = [
        f"{one.name}: {_listed(one.settings) or 'default settings'}; {_listed(one.versions())}" for one in contestants
    ]
    notes += [f"{name}: dropped: {reason}" for name, reason in dropped.items()]
    report("peers", settings, rows, targets, notes)


def print_trials(
    tried: Sequence[Contestant], measured: Mapping[str, Sequence[Measured]], dropped: Mapping[str, str]
) -> None:
    """One row for each setting of a peer that was tried."""
    rows = [
        {
            "trial": one.name,
            **one.settings,
            "requests/s": _median(measured[one.name], "requests_per_s"),
            "p99 ms": _median(measured[one.name], "p99_ms"),
            "CPU ms": _median(measured[one.name], "cpu_ms"),
        }
        for one in tried
        if one.name not in dropped
    ]
    if rows:
        print_table(rows)


def _row(one: Contestant, found: Sequence[Measured], ratio: float) -> dict[str, object]:
    return {
        "server": one.title,
        "tasks": one.num_tasks,
        "requests/s": _median(found, "requests_per_s"),
        "p50 ms": _median(found, "p50_ms"),
        "p99 ms": _median(found, "p99_ms"),
        "CPU ms": _median(found, "cpu_ms"),
        "memory MiB": round(max(item.memory_bytes for item in found) / 2**20),
        "not 200": sum(item.failures for item in found),
        "off by": found[0].largest_difference,
        "ours / this": ratio,
    }


def _median(found: Sequence[Measured], name: str) -> float:
    return float(statistics.median(getattr(item, name) for item in found))


def _ratio(ours: Sequence[Measured], theirs: Sequence[Measured]) -> float:
    """The median of the ratios of each round: within a round the machine's mood is nearly the same."""
    return statistics.median(a.requests_per_s / b.requests_per_s for a, b in zip(ours, theirs, strict=True))


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())
