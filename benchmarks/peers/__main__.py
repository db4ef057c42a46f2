"""This server beside its peers: 64 tasks mixed, one text a request, 64 clients in closed loop, on the same cores.

    python -m benchmarks.peers [--only NAME ...] [--dtypes bfloat16 ...] [--seconds 20] [--repeats 5]
    python -m benchmarks.peers tune [NAME ...]        the settings that each peer was tried with
    python -m benchmarks.peers install [NAME ...]     only make the environments

What is missing is installed first. The repeats alternate: every server is started, warmed up, measured and ended in
turn, then all again; medians are shown. Servers that may be faster in another type are measured in each of their types,
and the best type of this server is compared with the best of the peers. A peer that fails is dropped, and a note says
why. docs/peers.md says what each peer is and how it is tuned. The first form writes benchmarks/results/peers.json.
"""

import argparse
import subprocess

from benchmarks.peers.catalogue import PEERS_BY_NAME, compared, trials
from benchmarks.peers.environments import install
from benchmarks.peers.ours import our_contestant, our_dtypes
from benchmarks.peers.rounds import run_rounds
from benchmarks.peers.summary import print_trials, summarise
from benchmarks.sentences import single_texts

NUM_TEXTS = 4096


def main() -> None:
    """Install, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", nargs="?", default="compare", choices=["compare", "tune", "install"])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"out of {', '.join(PEERS_BY_NAME)}; by default all")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="the same")
    parser.add_argument(
        "--dtypes", nargs="+", default=our_dtypes(), help="this server's, each a row; default: %(default)s"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="of one measurement")
    parser.add_argument("--warmup", type=float, default=8.0, help="seconds of load before it")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    names = given.names + given.only or list(PEERS_BY_NAME)
    if unknown := set(names) - set(PEERS_BY_NAME):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    failed = install_all(names)
    if given.action == "install":
        return
    installed = [name for name in names if name not in failed]
    texts = single_texts(NUM_TEXTS)
    timing = {"seconds": given.seconds, "warmup_s": given.warmup, "repeats": given.repeats}
    if given.action == "tune":
        tried = [one for name in installed for one in trials(name)]
        print_trials(tried, *run_rounds(tried, texts, **timing))
        return
    contestants = [*map(our_contestant, given.dtypes), *(one for name in installed for one in compared(name))]
    measured, dropped = run_rounds(contestants, texts, **timing)
    left = [one for one in contestants if one.name not in dropped]
    summarise(left, measured, texts, failed | dropped, seconds=given.seconds)


def install_all(names: list[str]) -> dict[str, str]:
    """Make the environments; which could not be made, and why."""
    failed = {}
    for name in names:
        try:
            install(name)
        except subprocess.CalledProcessError as error:
            failed[name] = f"not installed: {error}"
            print(f"{name}: {failed[name]}")
    return failed


if __name__ == "__main__":
    main()
