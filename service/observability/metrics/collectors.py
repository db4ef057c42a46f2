"""Every Prometheus collector of the service, and the values that may become labels."""

from collections.abc import Callable, Iterable, Iterator

import prometheus_client.exposition as text_format
import prometheus_client.openmetrics.exposition as openmetrics_format
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, disable_created_metrics
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from service.core import REJECTION_REASONS
from service.observability.metrics.exposition import Exposition
from service.observability.metrics.requests import LATENCY_S, OTHER, Label, RequestsByTask

disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double the number of series, and nothing reads them
_END = b"# EOF\n"  # of OpenMetrics
_POWERS = tuple(float(2**n) for n in range(14))
# Results that alert rules read, shown at 0 from the start: increase() misses the first event of a series.
_FAILED_UPLOADS = ("storage_full", "registry_unavailable", "checker_unavailable", "check_crashed")
_UPLOAD_RESULTS = ("created", "unchanged", *_FAILED_UPLOADS)


class Metrics:
    """The collectors of one server, in a registry of their own. docs/monitoring.md explains each (a test compares)."""

    def __init__(self, max_tasks: int = 1000) -> None:
        self.registry = CollectorRegistry()  # of all collectors except `requests`
        self.requests = RequestsByTask()
        self._reads: list[Callable[[], None]] = []
        self._pids: dict[str, int] = {}
        self._exposition = Exposition(self.read_state, self._render)
        self.scrape, self.close = self._exposition.get, self._exposition.close
        self._max_tasks = max_tasks
        self._tasks: set[str] = set()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

        def histogram(name: str, text: str, labels: tuple[str, ...] = (), buckets: tuple[float, ...] = LATENCY_S):  # type: ignore[no-untyped-def]  # one line for seven collectors
            return Histogram(f"adakron_{name}", text, labels, buckets=buckets, registry=self.registry)

        def gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
            return Gauge(f"adakron_{name}", text, labels, registry=self.registry)

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"adakron_{name}", text, labels, registry=self.registry)

        self.errors = counter("errors_total", "Errors answered on any route, by error_type.", ("error_type",))
        self._errors: dict[str, Counter] = {}
        self.tokenize: Histogram = histogram("tokenize_duration_seconds", "Time to tokenize the texts of a request.")
        self.queue: Histogram = histogram("queue_duration_seconds", "Time from tokenized to in a batch.")
        self.inference: Histogram = histogram("inference_duration_seconds", "Time of one forward pass of a batch.")
        self.batch_size: Histogram = histogram("batch_size", "Inputs in a batch.", buckets=_POWERS)
        self.batch_tokens: Histogram = histogram("batch_tokens", "Tokens in a batch.", buckets=_POWERS)
        self.batch_adapters: Histogram = histogram("batch_adapters", "Adapters in a batch.", buckets=_POWERS)
        self.queue_depth = gauge("queue_depth", "Requests waiting for a batch.")
        self.queued_tokens = gauge("queued_tokens", "Tokens waiting for a batch.")
        self.rejected: Counter = counter("rejected_total", "Predict requests answered 429, by reason.", ("reason",))
        self.queue_oldest = gauge("queue_oldest_seconds", "Age of the oldest request waiting for a batch.")
        self.resident_adapters = gauge("resident_adapters", "Adapters in device memory.")
        self.adapter_memory = gauge("adapter_memory_bytes", "Device memory that adapters use.")
        self.adapter_memory_limit = gauge("adapter_memory_limit_bytes", "Device memory that adapters may use.")
        self.adapter_files = gauge("adapter_file_memory_bytes", "Host memory for files of adapters that were evicted.")
        self.adapter_load: Histogram = histogram(
            "adapter_load_duration_seconds", "Time to read an adapter from the registry and write it to the device."
        )
        self.adapter_evictions = counter("adapter_evictions_total", "Adapters evicted to make room for others.")
        self.uploads = counter("uploads_total", "Uploads: created, unchanged, or the code of the error.", ("result",))
        self.uploads_in_progress = gauge("uploads_in_progress", "Uploads being read, checked or published.")
        self.quarantined = gauge("quarantined_versions", "Versions whose stored bytes were found damaged.")
        self.registry_revision = gauge("registry_revision", "Revision of the registry that this server follows.")
        self.registry_age = gauge("registry_age_seconds", "Time since this server last read the registry.")
        self.draining = gauge("draining", "1 from the first signal to end on, else 0.")
        self.memory_limit = gauge("memory_limit_bytes", "Memory that the server and all its processes may use.")
        what_is_served = ("version", "backbone", "weights", "device", "dtype")
        self.build = gauge("build_info", "Always 1; the labels say what is served.", what_is_served)
        for reason in REJECTION_REASONS:
            self.rejected.labels(reason)
        for result in _UPLOAD_RESULTS:
            self.uploads.labels(result)

    def observe_request(self, task: str | None, code: int, duration_s: float, exemplar: Label | None) -> None:
        """Count one predict request; `task` is None if the name is not registered."""
        self.requests.observe(self.task_label(task), code, duration_s, exemplar)

    def expect_errors(self, error_types: Iterable[str]) -> None:
        """Show these error types from the start, at 0."""
        self._errors |= {error_type: self.errors.labels(error_type) for error_type in error_types}

    def observe_error(self, error_type: str) -> None:
        """Count one error response; `error_type` is one of a fixed set, never text of a client."""
        if (series := self._errors.get(error_type)) is None:
            series = self._errors[error_type] = self.errors.labels(error_type)
        series.inc()

    def task_label(self, task: str | None) -> str:
        """Return the label value of a registered task: its name for the first `max_tasks` of them, else `_other`."""
        if task is None:
            return OTHER
        if task not in self._tasks:
            if len(self._tasks) >= self._max_tasks:
                return OTHER
            self._tasks.add(task)
        return task

    def watch(self, gauge: Gauge, read: Callable[[], float]) -> None:
        """Set `gauge` from `read` before each scrape, on the event loop: `read` may use what the loop owns."""
        self._reads.append(lambda: gauge.set(read()))

    def watch_process(self, name: str, pid: Callable[[], int]) -> None:
        """Export memory, processor time and start of another process; `pid` returns 0 while there is none."""
        self._reads.append(lambda: self._pids.update({name: pid()}))
        ProcessCollector(f"adakron_{name}", pid=lambda: self._pids.get(name, 0), registry=self.registry)

    def read_state(self) -> None:
        """Set all watched gauges. Call it on the event loop."""
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
        if not openmetrics:
            return text_format.generate_latest(self.registry) + by_task
        rest: bytes = openmetrics_format.generate_latest(self.registry)  # type: ignore[no-untyped-call]
        return rest.removesuffix(_END) + by_task + _END
