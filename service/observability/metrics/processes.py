"""Memory, processor time and open files of the processes of a server, whichever of them answers a scrape."""

import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from service.observability.metrics.cells import REPLACED, Cells
from service.observability.metrics.series import Gauge, Series

Kind = Literal["http", "engine", "checker"]
_OTHERS: tuple[Kind, ...] = "engine", "checker"
_HTTP_PROCESSES = "adakron_http_processes"
_START, _RESIDENT = "process_start_time_seconds", "process_resident_memory_bytes"
_MEMORY_FRESH_S = 10.0  # for which a reading of the memory is reused: the kernel takes milliseconds for each process
# How the values of the HTTP processes are merged. The limit of open files holds for each process.
_MERGES: dict[str, Callable[[list[float]], float]] = {
    "process_virtual_memory_bytes": sum,
    _RESIDENT: sum,
    _START: min,
    "process_open_fds": max,
    "process_max_fds": min,
}


class Processes(Collector):
    """process_* of all HTTP processes together, adakron_engine_process_* and adakron_checker_process_*.

    Neither the start nor the processor time jumps when an HTTP process is replaced: the start is that of the first
    process, the engine's or an HTTP process, and the time includes dead HTTP processes.
    """

    def __init__(self, cells: Cells, series: Series, registry: CollectorRegistry) -> None:
        self._cells, self._series = cells, series
        self._cpu = series.counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.")
        # Each HTTP process sets its own pid; `len` makes their number of it.
        self._http = series.gauge(_HTTP_PROCESSES, "HTTP processes that run.", merge=len)
        self._others: dict[Kind, Gauge] = {kind: series.hidden_gauge(_pid(kind)) for kind in _OTHERS}
        self._memory, self._memory_read_at = 0.0, -math.inf
        parent = multiprocessing.parent_process()  # the supervisor, if there is one; the fork server is the real parent
        self._ancestors: set[int] = {os.getppid(), parent.pid or 0} if parent is not None else set()
        registry.register(self)
        for kind in self._others:
            ProcessCollector(f"adakron_{kind}", pid=partial(self._pid_of, kind), registry=registry)

    def set_pid(self, kind: Kind, pid: int) -> None:
        """Show the process `pid`; 0 while there is none."""
        (self._http if kind == "http" else self._others[kind]).set(pid or math.nan)

    def count_cpu(self) -> None:
        """Note the processor time of this process, an HTTP process."""
        self._cpu.advance(time.process_time())

    def collect(self) -> Iterator[Metric]:
        """Yield what is read from the HTTP processes when a scrape asks for it."""
        replaced, text = f"{_HTTP_PROCESSES}_replaced", "HTTP processes that ended and were replaced."
        yield CounterMetricFamily(replaced, text, value=self._cells.total(REPLACED, REPLACED + 1).item())
        http = set(map(int, self._series.values(_HTTP_PROCESSES)))
        yield from self._all_memory(http)
        found: dict[str, tuple[str, list[float]]] = {}
        for pid in http:
            for name, text, value in _read(pid):
                found.setdefault(name, (text, []))[1].append(value)
        if _START in found:
            found[_START][1].extend(value for name, _, value in _read(self._pid_of("engine")) if name == _START)
        for name, (text, values) in found.items():
            if name in _MERGES:
                yield GaugeMetricFamily(name, text, value=_MERGES[name](values))

    def _all_memory(self, http: set[int]) -> Iterator[Metric]:
        if time.monotonic() - self._memory_read_at >= _MEMORY_FRESH_S:
            self._memory_read_at = time.monotonic()
            pids = http | self._ancestors | {self._pid_of(kind) for kind in _OTHERS} - {0}
            self._memory = sum(map(_proportional_bytes, pids))
        text = "Memory of the server and all its processes; what they share counts once."
        yield GaugeMetricFamily("adakron_memory_bytes", text, value=self._memory)

    def _pid_of(self, kind: str) -> int:
        return int(max(self._series.values(_pid(kind)), default=0))


def _pid(kind: str) -> str:
    return f"{kind}_pid"


def _read(pid: int) -> Iterator[tuple[str, str, float]]:
    """Yield names, texts and values; none if there is no such process."""
    for metric in ProcessCollector(pid=lambda: pid, registry=None).collect():
        yield metric.name, metric.documentation, metric.samples[0].value


def _proportional_bytes(pid: int) -> float:
    """Return the memory of a process, its share of what others also map, else all resident memory; 0 if it ended."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return 1024.0 * int(line.split()[1])
    except OSError:
        pass
    return next((value for name, _, value in _read(pid) if name == _RESIDENT), 0.0)
