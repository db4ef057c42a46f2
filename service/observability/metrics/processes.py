"""Memory, processor time and open files of the processes of a server, whichever of them answers a scrape."""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
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
_START = "process_start_time_seconds"
# How the values of the HTTP processes are merged. The limit of open files holds for each process.
_MERGES: dict[str, Callable[[list[float]], float]] = {
    "process_virtual_memory_bytes": sum,
    "process_resident_memory_bytes": sum,
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
        found: dict[str, tuple[str, list[float]]] = {}
        for pid in map(int, self._series.values(_HTTP_PROCESSES)):
            for name, text, value in _read(pid):
                found.setdefault(name, (text, []))[1].append(value)
        if _START in found:
            found[_START][1].extend(value for name, _, value in _read(self._pid_of("engine")) if name == _START)
        for name, (text, values) in found.items():
            if name in _MERGES:
                yield GaugeMetricFamily(name, text, value=_MERGES[name](values))

    def _pid_of(self, kind: str) -> int:
        return int(max(self._series.values(_pid(kind)), default=0))


def _pid(kind: str) -> str:
    return f"{kind}_pid"


def _read(pid: int) -> Iterator[tuple[str, str, float]]:
    """Yield names, texts and values; none if there is no such process."""
    for metric in ProcessCollector(pid=lambda: pid, registry=None).collect():
        yield metric.name, metric.documentation, metric.samples[0].value
