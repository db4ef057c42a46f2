"""Every Prometheus collector of the service, and what may become a label."""

from collections.abc import Callable, Iterable, Iterator

import prometheus_client.exposition as text_format
import prometheus_client.openmetrics.exposition as openmetrics_format
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, disable_created_metrics
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from service.observability.metrics.exposition import Exposition
from service.observability.metrics.requests import LATENCY_S, OTHER, Label, RequestsByTask

disable_created_metrics()  # type: ignore[no-untyped-call]  # when each series began: as many series again, and nothing asks for them
_END = b"# EOF\n"  # of OpenMetrics
_POWERS = tuple(float(2**n) for n in range(14))
# Those that rules ask for: a series that begins with its first event shows no increase then.
_BOUNDS = ("requests", "tokens", "wait", "deadline")
_UPLOAD_RESULTS = ("created", "unchanged", "StorageFull", "RegistryUnavailable", "CheckerUnavailable", "check_crashed")


class Metrics:
    """The collectors of one server, in a registry of their own. docs/monitoring.md explains each (a test compares)."""

    def __init__(self, max_tasks: int = 1000) -> None:
        self.registry = CollectorRegistry()  # of all but `requests`
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

        self.errors = counter("errors_total", "Errors answered, by their error_type, on any route.", ("error_type",))
        self._errors: dict[str, Counter] = {}
        self.tokenize: Histogram = histogram("tokenize_seconds", "Turning a request's texts into tokens.")
        self.queue: Histogram = histogram("queue_seconds", "A request's wait from tokens to its first batch.")
        self.inference: Histogram = histogram("inference_seconds", "One forward of a batch.")
        self.batch_size: Histogram = histogram("batch_size", "Inputs in a batch.", buckets=_POWERS)
        self.batch_tokens: Histogram = histogram("batch_tokens", "Tokens in a batch.", buckets=_POWERS)
        self.batch_adapters: Histogram = histogram("batch_adapters", "Adapters in a batch.", buckets=_POWERS)
        self.queue_depth = gauge("queue_depth", "Requests that wait for a batch.")
        self.queued_tokens = gauge("queued_tokens", "Tokens that wait for a batch.")
        self.refused: Counter = counter("refused_total", "Predict requests refused, by what was exhausted.", ("bound",))
        self.queue_oldest = gauge("queue_oldest_seconds", "Age of the request that has waited longest.")
        self.adapter_resident = gauge("adapter_resident", "Adapters held in memory.", ("tier",))
        self.adapter_bytes = gauge("adapter_bytes", "Memory that adapters take.", ("tier",))
        self.adapter_limit_bytes = gauge("adapter_limit_bytes", "Memory that adapters may take.", ("tier",))
        self.adapter_load: Histogram = histogram(
            "adapter_load_seconds", "Reading an adapter from the registry and writing it to the device.", ("tier",)
        )
        self.adapter_evictions = counter("adapter_evictions_total", "Adapters dropped to make room for others.")
        self.uploads = counter(
            "uploads_total", "Uploads by result: created, unchanged, or the reason code.", ("result",)
        )
        self.uploads_under_way = gauge("uploads_under_way", "Uploads that are read, checked or published.")
        self.quarantined = gauge("quarantined_versions", "Versions whose stored bytes were found damaged.")
        self.registry_revision = gauge("registry_revision", "Revision of the registry that this server follows.")
        self.registry_age = gauge("registry_age_seconds", "Since this server has last read the registry.")
        self.draining = gauge("draining", "1 from the moment that the server begins to end.")
        self.memory_limit = gauge("memory_limit_bytes", "Memory that the server and all its processes may take.")
        self.build = gauge(
            "build_info", "What is served, in labels; always 1.", ("version", "backbone", "weights", "device", "dtype")
        )
        for bound in _BOUNDS:
            self.refused.labels(bound)
        for result in _UPLOAD_RESULTS:
            self.uploads.labels(result)

    def observe_request(self, task: str | None, code: int, duration_s: float, exemplar: Label | None) -> None:
        """Count one predict request; `task` is None where the name is not a registered one."""
        self.requests.observe(self.task_label(task), code, duration_s, exemplar)

    def observe_refusal(self, task: str | None, bound: str | None, duration_s: float, exemplar: Label | None) -> None:
        """Count one predict request that got no permit because `bound` was exhausted."""
        self.refused.labels(bound).inc()
        self.observe_request(task, 429, duration_s, exemplar)

    def expect_errors(self, error_types: Iterable[str]) -> None:
        """Show these from the start, at 0."""
        self._errors |= {error_type: self.errors.labels(error_type) for error_type in error_types}

    def observe_error(self, error_type: str) -> None:
        """Count one error that a client is told; `error_type` is one of few, never a client's word."""
        if (series := self._errors.get(error_type)) is None:
            series = self._errors[error_type] = self.errors.labels(error_type)
        series.inc()

    def task_label(self, task: str | None) -> str:
        """The label for a registered task: itself for the first `max_tasks` of them, else `_other`."""
        if task is None:
            return OTHER
        if task not in self._tasks:
            if len(self._tasks) >= self._max_tasks:
                return OTHER
            self._tasks.add(task)
        return task

    def watch(self, gauge: Gauge, read: Callable[[], float]) -> None:
        """Set `gauge` from `read` for each scrape, on the event loop: it may look at whatever that owns."""
        self._reads.append(lambda: gauge.set(read()))

    def watch_process(self, name: str, pid: Callable[[], int]) -> None:
        """Show memory and processor time of the process that has `pid`, as those of this one are shown."""
        self._reads.append(lambda: self._pids.update({name: pid()}))
        ProcessCollector(f"adakron_{name}", pid=lambda: self._pids.get(name, 0), registry=self.registry)

    def read_state(self) -> None:
        """Take over what is watched. On the event loop."""
        for read in self._reads:
            read()

    def families(self) -> Iterator[Metric]:
        """All series, as prometheus_client has them."""
        yield from self.registry.collect()
        yield from self.requests.collect()

    def exposition(self, openmetrics: bool = False) -> bytes:
        """All series in Prometheus' text format, or that of OpenMetrics, as they are now. On the event loop."""
        self.read_state()
        return self._render(openmetrics)

    def _render(self, openmetrics: bool) -> bytes:
        by_task = self.requests.text(openmetrics).encode("ascii")
        if not openmetrics:
            return text_format.generate_latest(self.registry) + by_task
        rest: bytes = openmetrics_format.generate_latest(self.registry)  # type: ignore[no-untyped-call]
        return rest.removesuffix(_END) + by_task + _END
