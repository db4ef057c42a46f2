"""Every Prometheus collector of the service, and the values that may become labels."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

import prometheus_client.exposition as text_format
import prometheus_client.openmetrics.exposition as openmetrics_format
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.platform_collector import PlatformCollector

from service.core import REJECTION_REASONS
from service.observability.metrics.cells import Cells
from service.observability.metrics.exposition import Exposition
from service.observability.metrics.processes import Kind, Processes
from service.observability.metrics.requests import LATENCY_S, PAUSE_S, Label, RequestsByTask
from service.observability.metrics.series import NUM_CELLS, Gauge, Histogram, Merge, Series

logger = logging.getLogger(__name__)
_END = b"# EOF\n"  # of OpenMetrics
_POWERS = tuple(float(2**n) for n in range(14))
# Results that alert rules read, shown at 0 from the start: increase() misses the first event of a series.
_FAILED_UPLOADS = ("storage_full", "registry_unavailable", "checker_unavailable", "check_crashed")
_UPLOAD_RESULTS = ("created", "unchanged", *_FAILED_UPLOADS)
_REFRESH_S = 1.0


class Metrics:
    """The metrics of one server, as one of its processes counts and shows them. docs/monitoring.md explains each.

    Each process has its own object, and those with the same `folder` show the sums over all of them (gauges: the
    values of living processes, merged). Without a folder the process counts and shows alone. Observations and `set`
    are for the thread of the event loop.
    """

    def __init__(
        self, max_tasks: int = 1000, folder: Path | None = None, kind: Literal["http", "engine"] = "http"
    ) -> None:
        """Count in `folder`, if there is one; `mark_process_dead` is to be called when one of the processes has ended.

        Raises OSError if the disk has no space.
        """
        self.registry = CollectorRegistry()  # of all collectors except `requests`
        self._cells = Cells(NUM_CELLS + RequestsByTask.num_cells(max_tasks), folder)
        self._series = Series(self._cells, folder)
        self.requests = RequestsByTask(self._cells, NUM_CELLS, max_tasks, folder)
        self._reads: list[Callable[[], None]] = []
        self._exposition = Exposition(self.read_state, self._render)
        self.scrape = self._exposition.get
        self.registry.register(self._series)
        PlatformCollector(registry=self.registry)
        self._processes = Processes(self._cells, self._series, self.registry)
        self._processes.set_pid(kind, os.getpid())
        if kind == "http":
            self._reads.append(self._processes.count_cpu)

        def histogram(name: str, text: str, bounds: tuple[float, ...] = LATENCY_S) -> Histogram:
            return self._series.histogram(f"adakron_{name}", text, bounds)

        def gauge(name: str, text: str, merge: Merge = max) -> Gauge:
            return self._series.gauge(f"adakron_{name}", text, merge)

        self.errors = self._series.counters(
            "adakron_errors_total", "Errors answered on any route, by error_type.", "error_type"
        )
        self.tokenize = histogram("tokenize_duration_seconds", "Time to tokenize the texts of a request.")
        self.queue = histogram("queue_duration_seconds", "Time from tokenized to in a batch.")
        self.inference = histogram("inference_duration_seconds", "Time of one forward pass of a batch.")
        self.batch_size = histogram("batch_size", "Inputs in a batch.", _POWERS)
        self.batch_tokens = histogram("batch_tokens", "Tokens in a batch.", _POWERS)
        self.batch_adapters = histogram("batch_adapters", "Adapters in a batch.", _POWERS)
        self.queue_depth = gauge("queue_depth", "Requests waiting for a batch.")
        self.queued_tokens = gauge("queued_tokens", "Tokens waiting for a batch.")
        self.rejected = self._series.counters(
            "adakron_rejected_total", "Predict requests answered 429, by reason.", "reason"
        )
        self.queue_oldest = gauge("queue_oldest_seconds", "Age of the oldest request waiting for a batch.")
        self.resident_adapters = gauge("resident_adapters", "Adapters in device memory.")
        self.adapter_memory = gauge("adapter_memory_bytes", "Device memory that adapters use.")
        self.adapter_memory_limit = gauge("adapter_memory_limit_bytes", "Device memory that adapters may use.")
        self.adapter_files = gauge("adapter_file_memory_bytes", "Host memory for files of adapters that were evicted.")
        self.adapter_load = histogram(
            "adapter_load_duration_seconds", "Time to read or merge an adapter and write it to the device."
        )
        self.adapter_evictions = self._series.counter(
            "adakron_adapter_evictions_total", "Adapters evicted to make room for others."
        )
        self.uploads = self._series.counters(
            "adakron_uploads_total", "Uploads: created, unchanged, or the code of the error.", "result"
        )
        self.uploads_in_progress = gauge("uploads_in_progress", "Uploads being read, checked or published.", sum)
        self.quarantined = gauge("quarantined_versions", "Versions whose stored bytes were found damaged.")
        self.registry_revision = gauge("registry_revision", "Revision of the registry that this server follows.", min)
        self.registry_age = gauge("registry_age_seconds", "Time since this server last read the registry.")
        self.draining = gauge("draining", "1 from the first signal to end on, else 0.")
        self.memory_limit = gauge("memory_limit_bytes", "Memory that the server and all its processes may use.")
        what_is_served = ("version", "backbone", "weights", "device", "dtype")
        self.build = self._series.gauges(
            "adakron_build_info", "Always 1; the labels say what is served.", *what_is_served
        )
        for reason in REJECTION_REASONS:
            self.rejected.labels(reason)
        for result in _UPLOAD_RESULTS:
            self.uploads.labels(result)

    def observe_request(self, task: str | None, code: int, duration_s: float, exemplar: Label | None) -> None:
        """Count one predict request; `task` is None if the name is not registered."""
        self.requests.observe(task, code, duration_s, exemplar)

    def expect_errors(self, error_types: Iterable[str]) -> None:
        """Show these error types from the start, at 0."""
        for error_type in error_types:
            self.errors.labels(error_type)

    def observe_error(self, error_type: str) -> None:
        """Count one error response; `error_type` is one of a fixed set, never text of a client."""
        self.errors.labels(error_type).inc()

    def watch(self, gauge: Gauge, read: Callable[[], float]) -> None:
        """Set `gauge` from `read` before each scrape and in `keep_current`: `read` may use what the event loop owns."""
        self._reads.append(lambda: gauge.set(read()))

    def watch_process(self, kind: Kind, pid: Callable[[], int]) -> None:
        """Export memory, processor time and start of another process; `pid` returns 0 while there is none."""
        self._reads.append(lambda: self._processes.set_pid(kind, pid()))

    async def keep_current(self) -> None:
        """Set all watched gauges each second, for scrapes that other processes answer. Cancel it to end it."""
        while True:
            try:
                self.read_state()
            except Exception:
                logger.exception("a gauge cannot be read")
            await asyncio.sleep(_REFRESH_S)

    def close(self) -> None:
        """End the thread of the scrapes. Nothing may be observed or shown after it; what was counted stays."""
        self._exposition.close()

    def read_state(self) -> None:
        """Set all watched gauges once. Call it on the event loop."""
        for read in self._reads:
            read()

    def families(self) -> Iterator[Metric]:
        """Yield all series, as prometheus_client's objects."""
        yield from self.registry.collect()
        yield from self.requests.collect()

    def exposition(self, openmetrics: bool = False) -> bytes:
        """Return all current series in Prometheus' text format, or OpenMetrics. Call it on the event loop."""
        self.read_state()
        return self._render(openmetrics)

    def _render(self, openmetrics: bool) -> bytes:
        by_task = self.requests.text(openmetrics).encode("ascii")
        time.sleep(PAUSE_S)
        if not openmetrics:
            return text_format.generate_latest(self.registry) + by_task
        rest: bytes = openmetrics_format.generate_latest(self.registry)  # type: ignore[no-untyped-call]
        return b"".join([rest.removesuffix(_END), by_task, _END])
