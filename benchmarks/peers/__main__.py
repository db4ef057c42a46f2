"""This server beside its peers: 64 tasks mixed, one text a request, 64 clients in closed loop, on the same cores.

    python -m benchmarks.peers [--only NAME ...] [--seconds 20] [--repeats 5]
    python -m benchmarks.peers install NAME ...

What is missing is installed first. The repeats alternate: every server is started, warmed up, measured and ended in
turn, then all again; medians are shown. A peer that fails is dropped, and a note says why. docs/peers.md says what each
peer is and how it is tuned. Writes benchmarks/results/peers.json.
"""

import argparse
import subprocess
import sys

from benchmarks.peers.catalogue import PEERS_BY_NAME, peer_contestant
from benchmarks.peers.check import WrongAnswer
from benchmarks.peers.environments import install
from benchmarks.peers.measure import Measured, measure
from benchmarks.peers.ours import our_contestant
from benchmarks.peers.processes import PeerFailed
from benchmarks.peers.summary import summarise
from benchmarks.sentences import single_texts

NUM_TEXTS = 4096


def main() -> None:
    """Install, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("install", nargs="*", metavar="install NAME", help="make environments, measure nothing")
    parser.add_argument("--only", nargs="+", choices=[*PEERS_BY_NAME], help="these peers, and this server")
    parser.add_argument("--seconds", type=float, default=20.0, help="of one measurement")
    parser.add_argument("--warmup", type=float, default=8.0, help="seconds of load before it")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    if given.install:
        if given.install[0] != "install" or not set(given.install[1:]) <= set(PEERS_BY_NAME):
            parser.error(f"install takes names out of {', '.join(PEERS_BY_NAME)}")
        for name in given.install[1:] or PEERS_BY_NAME:
            install(name)
        return
    dropped: dict[str, str] = {}
    contestants = [our_contestant()]
    for name in given.only or PEERS_BY_NAME:
        try:
            install(name)
        except subprocess.CalledProcessError as error:
            dropped[name] = f"not installed: {error}"
        else:
            contestants.append(peer_contestant(name))
    texts = single_texts(NUM_TEXTS)
    measured: dict[str, list[Measured]] = {one.name: [] for one in contestants}
    for repeat in range(given.repeats):
        for one in contestants:
            if one.name in dropped:
                continue
            try:
                found = measure(
                    one, texts, seconds=given.seconds, warmup_s=given.warmup, checked=repeat == 0, seed=repeat
                )
            except (PeerFailed, WrongAnswer) as error:
                dropped[one.name] = str(error)
                print(f"{one.name}: dropped: {error}", file=sys.stderr)
                continue
            measured[one.name].append(found)
            print(f"{one.name}: {found.requests_per_s:.0f} requests/s", file=sys.stderr)
    summarise([one for one in contestants if one.name not in dropped], measured, texts, dropped, seconds=given.seconds)


if __name__ == "__main__":
    main()
