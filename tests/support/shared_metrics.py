"""Processes that count in one folder, and the slow sum of what they count."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Literal

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from service.observability.metrics import Metrics
from service.processes.child import context

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

_OF_PROCESSES = ("process_", "adakron_engine_process_", "adakron_http_processes", "python_info")


def observe(metrics: Metrics, seed: int, number: int = 500) -> None:
    """Observe the same things for the same seed, on every metric that counts."""
    chance = random.Random(seed)
    histograms = [metrics.tokenize, metrics.queue, metrics.inference, metrics.batch_tokens, metrics.adapter_load]
    for _ in range(number):
        task = chance.choice([None, *(f"task-{chance.randrange(30)}" for _ in range(5))])
        exemplar = ("request_id", f"{chance.randrange(10**6)}") if chance.random() < 0.5 else None
        metrics.observe_request(task, chance.choice((200, 200, 422, 429, 499, 504)), chance.expovariate(5), exemplar)
        chance.choice(histograms).observe(chance.expovariate(1))
        metrics.observe_error(chance.choice(("validation", "overloaded")))
        metrics.rejected.labels(chance.choice(("queued_requests", "deadline"))).inc()
        metrics.uploads.labels(chance.choice(("created", "dtype"))).inc()
        metrics.adapter_evictions.inc(chance.randrange(3))


def sum_alone(seeds: Iterable[int]) -> Samples:
    """The sums of what a process without a folder shows after `observe`, read by prometheus_client."""
    total: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
    for seed in seeds:
        metrics = Metrics()
        observe(metrics, seed)
        for key, value in counted(metrics).items():
            total[key] += value  # type: ignore[assignment]  # a float
        metrics.close()
    return dict(total)


def counted(metrics: Metrics, openmetrics: bool = False) -> Samples:
    """Every sample of counters and histograms in the text, except those about processes."""
    text = metrics.exposition(openmetrics).decode()
    families = parse_openmetrics(text) if openmetrics else parse_text(text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in _known_once(families)
        if family.type in ("counter", "histogram") and not family.name.startswith(_OF_PROCESSES)
        for sample in family.samples
    }


def _known_once(families: Iterator[Metric]) -> list[Metric]:
    found = list(families)
    names = [family.name for family in found]
    assert len(names) == len(set(names))
    series = [(sample.name, *sorted(sample.labels.items())) for family in found for sample in family.samples]
    assert len(series) == len(set(series))
    return found


class Counting:
    """A process that counts in `folder` and does what it is asked, until it is killed."""

    def __init__(self, folder: Path, kind: Literal["http", "engine"] = "http", max_tasks: int = 1000) -> None:
        self._end, other = context().Pipe()
        self._process: BaseProcess = context().Process(
            target=_count, args=(other, folder, kind, max_tasks), daemon=True
        )
        self._process.start()
        other.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def do(self, name: str, *given: object) -> None:
        """Have it call a function of `_ACTIONS`, and return once it has."""
        self.begin(name, *given)
        self.wait()

    def begin(self, name: str, *given: object) -> None:
        """Have it call a function of `_ACTIONS`."""
        self._end.send((name, given))

    def wait(self) -> object:
        """Return what the call returned."""
        return self._end.recv()

    def kill(self) -> None:
        """End it without any chance to do something more."""
        self._process.kill()
        self._process.join()
        self._end.close()


@contextmanager
def counting(folder: Path, *kinds: Literal["http", "engine"], max_tasks: int = 1000) -> Iterator[list[Counting]]:
    """Yield processes that count in `folder`, and kill those that are left."""
    processes = [Counting(folder, kind, max_tasks) for kind in kinds]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()


def _count(end: Connection, folder: Path, kind: Literal["http", "engine"], max_tasks: int) -> None:
    metrics = Metrics(max_tasks, folder, kind)
    while True:
        name, given = end.recv()
        end.send(_ACTIONS[name](metrics, *given))


def _set(metrics: Metrics, **values: float) -> None:
    for name, value in values.items():
        getattr(metrics, name).set(value)


def _count_to(metrics: Metrics, counter: Path, task: str) -> None:
    """Count requests without end; the file `counter` has as many bytes as were counted."""
    with counter.open("ab", buffering=0) as file:
        while True:
            metrics.observe_request(task, 200, 0.1, None)
            file.write(b".")


def _tasks(metrics: Metrics, tasks: list[str]) -> None:
    for task in tasks:
        metrics.observe_request(task, 200, 0.1, None)


def _durations(metrics: Metrics, durations: list[float]) -> None:
    for duration in durations:
        metrics.tokenize.observe(duration)


_ACTIONS = {
    "durations": _durations,
    "observe": observe,
    "set": lambda metrics, values: _set(metrics, **values),
    "read": lambda metrics: metrics.read_state(),
    "count": _count_to,
    "tasks": _tasks,
    "show": lambda metrics: counted(metrics),
}
