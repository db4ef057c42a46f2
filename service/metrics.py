"""Every Prometheus collector of the service, and what may become a label."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

OTHER = "_other"  # the value of the label `task` for whatever has none of its own
_LATENCY_S = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_POWERS = tuple(float(2**n) for n in range(14))
# Those that rules ask for: a series that begins with its first event shows no increase then.
_BOUNDS = ("requests", "tokens", "wait", "deadline")
_UPLOAD_RESULTS = ("created", "unchanged", "StorageFull", "RegistryUnavailable", "CheckerUnavailable", "check_crashed")


class Metrics:
    """The collectors of one server, in a registry of their own. docs/operations.md explains each (a test compares)."""

    def __init__(self, max_tasks: int = 1000) -> None:
        self.registry = CollectorRegistry()
        self._max_tasks = max_tasks
        self._tasks: set[str] = set()
        self._answered: dict[tuple[str, int], tuple[Counter, Histogram]] = {}  # a look-up by labels takes longer
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

        def histogram(name: str, text: str, labels: tuple[str, ...] = (), buckets: tuple[float, ...] = _LATENCY_S):  # type: ignore[no-untyped-def]  # one line for seven collectors
            return Histogram(f"adakron_{name}", text, labels, buckets=buckets, registry=self.registry)

        def gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
            return Gauge(f"adakron_{name}", text, labels, registry=self.registry)

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"adakron_{name}", text, labels, registry=self.registry)

        self.requests = counter("requests_total", "Predict requests answered.", ("task", "code"))
        self.errors = counter("errors_total", "Errors answered, by their error_type, on any route.", ("error_type",))
        self._errors: dict[str, Counter] = {}
        self.request_duration: Histogram = histogram(
            "request_duration_seconds", "From a predict request's arrival to its answer.", ("task",)
        )
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

    def observe_request(self, task: str | None, code: int, duration_s: float) -> None:
        """Count one predict request; `task` is None where the name is not a registered one."""
        key = self.task_label(task), code
        if (series := self._answered.get(key)) is None:
            label = key[0]
            series = self.requests.labels(label, str(code)), self.request_duration.labels(label)
            self._answered[key] = series
        requests, durations = series
        requests.inc()
        durations.observe(duration_s)

    def observe_refusal(self, task: str | None, bound: str | None, duration_s: float) -> None:
        """Count one predict request that got no permit because `bound` was exhausted."""
        self.refused.labels(bound).inc()
        self.observe_request(task, 429, duration_s)

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

    def watch_queue(
        self, depth: Callable[[], float], num_tokens: Callable[[], float], oldest_s: Callable[[], float]
    ) -> None:
        """Read the queue's gauges from these whenever Prometheus scrapes."""
        self.queue_depth.set_function(depth)
        self.queued_tokens.set_function(num_tokens)
        self.queue_oldest.set_function(oldest_s)

    def watch_process(self, name: str, pid: Callable[[], int]) -> None:
        """Show memory and processor time of the process that has `pid`, as those of this one are shown."""
        ProcessCollector(namespace=f"adakron_{name}", pid=pid, registry=self.registry)

    def exposition(self) -> bytes:
        """All series in Prometheus' text format."""
        return generate_latest(self.registry)
