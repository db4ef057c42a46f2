"""Load on an HTTP server from a process of its own: closed loop (so many clients) and open loop (so many arrivals).

Requests are given as bytes, so that any server can be measured. All times are `time.monotonic`'s, which all processes
of a machine share.

    with open_loop("127.0.0.1", 8000, [predict_request("sst2", "a warm, funny film")], 100.0, seconds=10) as load:
        ...  # what should happen meanwhile
    print(load.results().percentile_ms(99))
"""

import json
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

NO_ANSWER = 0  # the status of a request whose connection broke, or that was not answered in time
MAX_CONNECTIONS = 4096


@dataclass(frozen=True, eq=False)
class Plan:
    """The work of the load process."""

    host: str
    port: int
    requests: Sequence[bytes]
    seconds: float
    clients: int = 0  # closed loop; 0: open loop
    warmup_s: float = 0.0  # closed loop: before the window
    arrivals: np.ndarray | None = None  # open loop: seconds from the begin, ascending
    order: np.ndarray | None = None  # which request the n-th one is; by default one after the other, again and again
    patience_s: float = 30.0  # after the window, for answers that are missing


@dataclass(frozen=True, eq=False)
class Results:
    """The outcome of every request, in no order. The window is [begin, begin + seconds)."""

    index: np.ndarray  # [n] which of the requests given
    start: np.ndarray  # [n] when it should have been sent (open loop), or was (closed loop)
    sent: np.ndarray  # [n] when it was sent
    end: np.ndarray  # [n] when its answer had arrived whole
    status: np.ndarray  # [n] of HTTP, or NO_ANSWER
    begin: float
    seconds: float
    cpu_s: float  # of the load's own process, warm-up included
    refusals: Sequence[tuple[int, bytes]] = ()  # status and body of the first answers that were not 200

    def __len__(self) -> int:
        return len(self.index)

    @property
    def latency_s(self) -> np.ndarray:
        """[n] seconds from the intended start to the answer."""
        return self.end - self.start

    def where(self, chosen: np.ndarray) -> "Results":
        """Those of the mask `chosen` [n]."""
        arrays = {name: getattr(self, name)[chosen] for name in ("index", "start", "sent", "end", "status")}
        return replace(self, **arrays)

    def of(self, status: int) -> "Results":
        """Those answered with `status`."""
        return self.where(self.status == status)

    def within(self, begin_s: float, end_s: float) -> "Results":
        """Those meant to start in that part of the window, as a window of its own."""
        begin = self.begin + begin_s
        inside = (self.start >= begin) & (self.start < self.begin + end_s)
        return replace(self.where(inside), begin=begin, seconds=end_s - begin_s)

    def counts(self) -> dict[int, int]:
        """Count the requests by status."""
        return {int(status): int(number) for status, number in zip(*np.unique(self.status, return_counts=True))}  # noqa: B905

    def reasons(self) -> dict[str, int]:
        """Count the recorded answers that were not 200 by status, error type and reason: `429 overloaded deadline`."""
        return dict(Counter(_reason(status, body) for status, body in self.refusals))

    def throughput(self, status: int = 200, within_s: float = float("inf")) -> float:
        """Answers a second with `status` that arrived in the window, and within `within_s` of their start."""
        in_window = (self.end >= self.begin) & (self.end < self.begin + self.seconds)
        good = in_window & (self.status == status) & (self.latency_s <= within_s)
        return float(good.sum()) / self.seconds

    def steady_rate(self, weights: np.ndarray | None = None) -> float:
        """Answers a second with 200 in a closed loop, each counted as `weights` says for its request; see below."""
        good = self.of(200)
        counted = np.ones(len(good)) if weights is None else weights[good.index]
        return steady_rate(good.end, counted, self.begin, self.begin + self.seconds)

    def percentile_ms(self, percent: float) -> float:
        """Return a latency percentile, in ms, of the requests meant to start in the window; nan if there are none."""
        inside = (self.start >= self.begin) & (self.start < self.begin + self.seconds)
        values = self.latency_s[inside]
        return float(np.percentile(values, percent)) * 1000 if len(values) else float("nan")


class Load:
    """A running load; `results()` waits for its end."""

    def __init__(self, plan: Plan) -> None:
        command = [sys.executable, "-m", "benchmarks.serving.load_process"]
        root = Path(__file__).parents[1]
        self._process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump(plan, self._process.stdin)
        self._process.stdin.close()
        self._output = self._process.stdout
        self._results: Results | None = None
        self.begin: float = pickle.load(self._output)  # of the window, once it is about to start

    def results(self) -> Results:
        """Wait until every request is answered or given up. Raises EOFError if the process failed."""
        if self._results is None:
            self._results = pickle.load(self._output)
            self._output.close()
            self._process.wait()
        return self._results

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.results()
        else:
            self._process.kill()
            self._process.wait()


def _reason(status: int, body: bytes) -> str:
    """Name a refusal by what a client sees of it; a body that is no JSON object is quoted."""
    try:
        fields = json.loads(body)
        return " ".join([str(status), *(str(fields[name]) for name in ("error_type", "reason") if name in fields)])
    except (ValueError, TypeError):
        return f"{status} {body[:60]!r}"


def steady_rate(times: np.ndarray, weights: np.ndarray, begin: float, end: float) -> float:
    """Weight a second, from the first of `times` at or after `begin` up to the first at or after `end`.

    Answers come a batch at a time: a window with fixed edges would count one batch more or less. nan if there
    are no such two times: the window must be longer than a batch.
    """
    first, last = (np.min(times[times >= edge], initial=np.inf) for edge in (begin, end))
    if not first < last < np.inf:
        return float("nan")
    return float(weights[(times >= first) & (times < last)].sum() / (last - first))


def closed_loop(
    host: str,
    port: int,
    requests: Sequence[bytes],
    clients: int,
    seconds: float,
    *,
    warmup_s: float = 0.0,
    order: np.ndarray | None = None,
) -> Load:
    """`clients` connections, each with one request under way at any time; those of the warm-up are left out."""
    return Load(Plan(host, port, requests, seconds, clients=clients, warmup_s=warmup_s, order=order))


def open_loop(
    host: str,
    port: int,
    requests: Sequence[bytes],
    rate_per_s: float,
    seconds: float,
    *,
    seed: int = 0,
    order: np.ndarray | None = None,
) -> Load:
    """Poisson arrivals that do not wait for answers; a latency begins when a request should have been sent."""
    return open_loop_at(host, port, requests, poisson(rate_per_s, seconds, seed), seconds, order=order)


def open_loop_at(
    host: str,
    port: int,
    requests: Sequence[bytes],
    arrivals: np.ndarray,
    seconds: float,
    *,
    order: np.ndarray | None = None,
) -> Load:
    """Run an open loop with given arrivals: seconds from the begin, ascending."""
    return Load(Plan(host, port, requests, seconds, arrivals=arrivals, order=order))


def poisson(rate_per_s: float, seconds: float, seed: int) -> np.ndarray:
    """Arrival times [n] in [0, seconds)."""
    generator = np.random.default_rng(seed)
    times = np.sort(generator.uniform(0, seconds, generator.poisson(rate_per_s * seconds)))
    return times


def http_request(path: str, body: bytes, headers: Mapping[str, str] | None = None, *, host: str = "localhost") -> bytes:
    """A POST of JSON that keeps its connection."""
    head = {"Host": host, "Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def predict_request(task: str, text: str, headers: Mapping[str, str] | None = None) -> bytes:
    """One text for one task of this server."""
    return http_request(f"/v1/{task}/predict", json.dumps({"inputs": text}).encode(), headers)
