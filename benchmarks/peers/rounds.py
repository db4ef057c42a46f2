"""Every server in turn, then all again, so that the machine's moods hit each alike."""

import sys
from collections.abc import Sequence

from benchmarks.peers.check import WrongAnswer
from benchmarks.peers.contestant import Contestant
from benchmarks.peers.measure import Measured, measure
from benchmarks.peers.processes import PeerFailed


def run_rounds(
    contestants: Sequence[Contestant], texts: list[str], *, seconds: float, warmup_s: float, repeats: int
) -> tuple[dict[str, list[Measured]], dict[str, str]]:
    """Return the measurements by name, and why some contestants were dropped. The first round checks answers."""
    measured: dict[str, list[Measured]] = {one.name: [] for one in contestants}
    dropped: dict[str, str] = {}
    for repeat in range(repeats):
        for one in contestants:
            if one.name in dropped:
                continue
            try:
                found = measure(one, texts, seconds=seconds, warmup_s=warmup_s, checked=repeat == 0, seed=repeat)
            except (PeerFailed, WrongAnswer) as error:
                dropped[one.name] = str(error)
                print(f"{one.name}: dropped: {error}", file=sys.stderr)
                continue
            measured[one.name].append(found)
            print(f"{one.name}: {found.requests_per_s:.0f} requests/s, {found.cpu_ms:.1f} ms of CPU", file=sys.stderr)
    return measured, dropped
