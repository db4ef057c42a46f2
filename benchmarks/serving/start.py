"""A server's start: how long it takes, its memory, and its first requests, without and with `--warmup`.

Servers with the shipped adapters start in turns without and with it; one client then sends real texts one after the
other, each of another task, over one connection. "Later requests" is the same server's median from the 60th on. Memory
is that of all its processes after the last request; shared memory counts once.

    ADAKRON_GLUE_DIR=... python -m benchmarks.serving.start [--rounds 7]

Writes benchmarks/results/start.json.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil

from benchmarks.report import Target, report
from benchmarks.sentences import SPLITS, split_rows
from tests.support.processes import server_process

FIRST, LATER, ALL = 20, 60, 120
Question = tuple[str, str | tuple[str, str]]  # a task, and what it is asked


@dataclass(frozen=True, eq=False)
class Start:
    """The measurements of one start."""

    seconds: float  # until it listened
    latency_ms: np.ndarray  # [ALL] of each request
    memory_bytes: int  # of all processes; of a page that n share each has 1/n


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    asked = questions()
    found: dict[bool, list[Start]] = {False: [], True: []}
    for _ in range(rounds):
        for warm in (False, True):
            found[warm].append(one_start(warm, asked))
    latency_ms = {warm: np.array([start.latency_ms for start in found[warm]]) for warm in found}  # [rounds, ALL]
    rows: list[dict[str, object]] = [
        {
            "warm-up": "on" if warm else "off",
            "start s": float(np.median([start.seconds for start in found[warm]])),
            "memory MB": float(np.median([start.memory_bytes for start in found[warm]])) / 1e6,
            "1st request ms": float(np.median(values[:, 0])),
            f"slowest of the first {FIRST} ms": float(np.median(values[:, :FIRST].max(axis=1))),
            f"median of the first {FIRST} ms": float(np.median(values[:, :FIRST])),
            "median of later ones ms": float(np.median(values[:, LATER:])),
        }
        for warm, values in latency_ms.items()
    ]
    later_ms = float(np.median(latency_ms[True][:, LATER:]))
    slowest = float(np.median(latency_ms[True][:, :FIRST].max(axis=1))) / later_ms
    report(
        "start",
        {"rounds": rounds, "tasks": len(SPLITS)},
        rows,
        [Target(f"with it: the slowest of the first {FIRST} over later ones' median", slowest, "at most", 3.0)],
    )


def questions() -> list[Question]:
    """ALL inputs of GLUE, of one task after the other."""
    found: list[list[Question]] = []
    for split in SPLITS:
        rows = split_rows(split)[: ALL // len(SPLITS)]
        task = split.partition("/")[0]
        found.append([(task, row.get("sentence") or (row["sentence1"], row["sentence2"])) for row in rows])
    return [question for turn in zip(*found, strict=True) for question in turn]


def one_start(warm: bool, asked: list[Question]) -> Start:
    """Start a server on a new folder, ask it everything, end it."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        with server_process(Path(folder), warmup=str(warm).lower()) as server, httpx.Client() as client:
            seconds = time.monotonic() - began
            latency_ms = np.array([1000 * seconds_of(client, server.url, *question) for question in asked])
            process = psutil.Process(server.process.pid)
            every = (process, *process.children(recursive=True))
            return Start(seconds, latency_ms, sum(one.memory_full_info().pss for one in every))


def seconds_of(client: httpx.Client, url: str, task: str, inputs: str | tuple[str, str]) -> float:
    """Return the seconds of one request, which must be answered with 200."""
    body = {"inputs": inputs if isinstance(inputs, str) else [inputs]}
    began = time.monotonic()
    client.post(f"{url}/v1/{task}/predict", json=body).raise_for_status()
    return time.monotonic() - began


if __name__ == "__main__":
    main()
