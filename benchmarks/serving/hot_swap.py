"""The effect of 1,000 uploads on predictions at 80 % load, and the time until a new version answers.

A round has three windows, each an open loop at 80 % of the capacity: without uploads; with files that are checked to
the end and refused by their last golden example, which is what a dry run takes under that load; and with good files,
each a new version of the next of 64 tasks, made live. The capacity is the throughput of 64 clients in a closed loop
without uploads, measured right before each window: where the speed of the machine changes, 80 % of an older figure may
be more than it can compute, and then requests are refused whatever else runs. The time to a new answer is measured from
sending a file to the first answer that names its version; the request for it is sent when the upload is answered.
Answers that are not 200 are listed with their reason, and the stages of the uploads that were made live from the
server's log: the check with the load, the transaction, the announcement to all processes, and the first prediction.

    ADAKRON_GLUE_DIR=... python -m benchmarks.serving.hot_swap [--uploads 1000] [--rate 2] [--seconds 40]

Writes benchmarks/results/hot_swap.json.
"""

import argparse
import http.client
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.adapters import refused_at_the_end, shipped_files
from benchmarks.report import Target, report
from benchmarks.sentences import single_texts
from benchmarks.serving.load import NO_ANSWER, Results, closed_loop, open_loop
from benchmarks.serving.server import HOST, Serving, serving

LOAD = 0.8
TEXT = "a warm, funny film"


class Uploader:
    """One client that uploads to the tasks in turn."""

    def __init__(self, server: Serving) -> None:
        self._server, self._connection = server, http.client.HTTPConnection(HOST, server.port, timeout=60)
        self._headers = server.server.headers | {"Content-Type": "application/octet-stream"}
        self._number = 0
        self.first_s: list[float] = []  # from the answer of an upload to the first answer of its version
        self.num_stale = 0  # answers of an older version than the upload's
        self.num_refused = 0  # requests for the new version that were answered 429

    def upload(self, data: bytes, status: int) -> tuple[str, int]:
        """Return task and version, 0 if it was refused. Raises RuntimeError for any other status."""
        task = self._server.tasks[self._number % len(self._server.tasks)]
        self._number += 1
        self._connection.close()  # the server may have closed it meanwhile
        answer = self._post(f"/admin/v1/tasks/{task}/versions", data, {status}, self._headers)
        return task, int(answer.get("version", 0))

    def swap(self, data: bytes) -> None:
        """Upload, and ask until the new version answers."""
        task, version = self.upload(data, 201)
        body, got = json.dumps({"inputs": TEXT}).encode(), None
        answered = time.monotonic()
        while got != version:
            got = self._post(f"/v1/{task}/predict", body, {200, 429}).get("version")
            self.num_refused += got is None
            self.num_stale += got is not None and got != version
        self.first_s.append(time.monotonic() - answered)

    def _post(
        self, path: str, body: bytes, statuses: set[int], headers: dict[str, str] | None = None
    ) -> dict[str, object]:
        self._connection.request("POST", path, body, headers or {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        text = response.read()
        if response.status not in statuses:
            raise RuntimeError(f"{path}: {response.status} instead of {statuses}: {text[:200]!r}")
        answer: dict[str, object] = json.loads(text)
        return answer


def paced(act: Callable[[], object], every_s: float, end: float) -> list[float]:
    """Seconds that each took until `end`; one begins every `every_s`, or when the one before is done."""
    due, taken = time.monotonic(), list[float]()
    while due < end:
        time.sleep(max(0.0, due - time.monotonic()))
        started = time.monotonic()
        act()
        taken.append(time.monotonic() - started)
        due = max(due + every_s, time.monotonic())
    return taken


def refusals(runs: Sequence[Results]) -> str:
    """List the reasons of all answers that were not 200, and how many there were of each."""
    counts = sum((Counter(found.reasons()) for found in runs), Counter[str]())
    lost = sum(len(found.of(NO_ANSWER)) for found in runs)
    return ", ".join(f"{number} x {reason}" for reason, number in [*counts.items(), ("no answer", lost)] if number)


def stages(log: str, first_s: Sequence[float]) -> list[str]:
    """Describe the stages of the uploads in the log of a server, and of the first predictions."""
    lines = [json.loads(line) for line in log.splitlines() if '"announce_ms"' in line]
    found = {name: [line[f"{name}_ms"] for line in lines] for name in ("check", "publish", "announce")}
    found["all except the check"] = [line["total_ms"] - line["check_ms"] for line in lines]
    found["first prediction"] = [1000 * seconds for seconds in first_s]
    return [
        f"Stage of an upload, {name}: p50 {np.median(values):.0f} ms, p99 {np.percentile(values, 99):.0f} ms."
        for name, values in found.items()
    ]


def row(what: str, runs: Sequence[Results], taken_s: Sequence[float], seconds: float) -> dict[str, object]:
    """Make a row: medians over the rounds for predictions, all values for uploads."""
    return {
        "meanwhile": what,
        "asked/s": float(np.median([len(found) / found.seconds for found in runs])),
        "not 200": sum(len(found) - len(found.of(200)) for found in runs),
        "p50 ms": float(np.median([found.percentile_ms(50) for found in runs])),
        "p99 ms": float(np.median([found.percentile_ms(99) for found in runs])),
        "uploads": len(taken_s) or None,
        "uploads/s": len(taken_s) / seconds if taken_s else None,
        "upload p50 ms": float(np.median(taken_s)) * 1000 if taken_s else None,
        "upload p99 ms": float(np.percentile(taken_s, 99)) * 1000 if taken_s else None,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uploads", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=2.0, help="uploads a second")
    parser.add_argument("--seconds", type=float, default=40, help="of a round's uploads; its other windows as much")
    given = parser.parse_args()
    every_s = 1 / given.rate
    files, refused = iter(shipped_files(given.uploads + int(given.seconds * given.rate) + 1)), refused_at_the_end()
    found: dict[str, list[Results]] = {"nothing": [], "dry runs": [], "uploads": []}
    taken_s: dict[str, list[float]] = {name: [] for name in found}
    capacities: list[float] = []
    with serving(64, log_format="json") as server:
        requests = server.requests(single_texts(1280))
        uploader = Uploader(server)
        uploader.upload(refused, 422)  # the checking process may still be starting
        alone_s = paced(lambda: uploader.upload(refused, 422), every_s, time.monotonic() + 10 * every_s)
        closed_loop(HOST, server.port, requests, 64, 5, warmup_s=2).results()
        acts: dict[str, tuple[Callable[[], object], float]] = {  # and its part of a round's seconds
            "nothing": (lambda: time.sleep(every_s), 0.6),
            "dry runs": (lambda: uploader.upload(refused, 422), 0.4),
            "uploads": (lambda: uploader.swap(next(files)), 1.0),
        }
        while len(taken_s["uploads"]) < given.uploads:
            for name, (act, part) in acts.items():
                capacity = closed_loop(HOST, server.port, requests, 64, max(5, given.seconds / 8), warmup_s=1)
                capacities.append(capacity.results().steady_rate())
                seconds, seed = part * given.seconds, len(found[name])
                with open_loop(HOST, server.port, requests, LOAD * capacities[-1], seconds, seed=seed) as load:
                    taken_s[name] += paced(act, every_s, load.begin + seconds)
                found[name].append(load.results())
        del taken_s["nothing"]
        described = stages(server.server.log, uploader.first_s)
    failed = sum(len(one) - len(one.of(200)) for one in found["uploads"])
    slower = [
        busy.percentile_ms(99) / quiet.percentile_ms(99)
        for busy, quiet in zip(found["uploads"], found["nothing"], strict=True)
    ]
    dry_ms, alone_ms, swap_ms = (
        1000 * float(value)
        for value in (np.median(taken_s["dry runs"]), np.median(alone_s), np.percentile(taken_s["uploads"], 99))
    )
    report(
        "hot_swap",
        {"tasks": 64, "capacity/s": round(float(np.median(capacities)), 1), "load": LOAD, "rounds": len(slower)},
        [row(name, runs, taken_s.get(name, ()), sum(one.seconds for one in runs)) for name, runs in found.items()],
        [
            Target("failed requests beside uploads", failed, "at most", 0),
            Target("p99 beside uploads over p99 without", float(np.median(slower)), "at most", 1.5),
            Target("p99 to the first answer beyond a dry run under that load, ms", swap_ms - dry_ms, "at most", 150),
            Target("answers of an older version after the upload's answer", uploader.num_stale, "at most", 0),
        ],
        [
            f"A dry run on the idle server takes {alone_ms:.0f} ms, under that load {dry_ms:.0f} (p50 of each).",
            *described,
            f"{uploader.num_refused} of the requests for a new version were answered 429 and sent again.",
            *(f"Not 200, {name}: {reasons}." for name, runs in found.items() if (reasons := refusals(runs))),
        ],
    )


if __name__ == "__main__":
    main()
