"""RequestContext: the facts about one HTTP request for its log line and its trace; never a text, a label or a body.

The context belongs to the asyncio task that handles the request, and to the tasks that it starts.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from service.core import TASK_NAME, Progress, PublishedVersion


@dataclass(slots=True, eq=False)
class Span:
    """A timed stage of a request."""

    name: str
    started: float  # monotonic seconds
    ended: float
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class TaskRun:
    """One task that a request names. Set when the name is resolved, then by `predictor.compute`."""

    task: str | None  # None if the name is not a valid one
    version: PublishedVersion | None = None
    has_started: bool = False
    num_inputs: int = 0
    num_tokens: int = 0
    tokenize_s: float = 0.0
    queue_s: float = 0.0
    inference_s: float = 0.0
    status: int | None = None  # its own status, if the request names several tasks
    error_type: str | None = None


@dataclass(slots=True, eq=False)
class RequestContext:
    """One HTTP request. Created by api/http/request_log.py, or by whatever answers it before the application."""

    request_id: str = ""
    method: str = ""
    client: str | None = None  # address
    started: float = field(default_factory=time.monotonic)
    route: str | None = None  # for example `/v1/{task}/predict`; None if the path matches none
    key_id: str | None = None  # api/http/auth.py
    status: int = 0
    error_type: str | None = None  # api/http/errors.py
    ended: float = 0.0
    task_runs: list[TaskRun] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    trace_id: str | None = None  # Tracing
    span_id: str | None = None  # Tracing
    otel_span: Any = None  # Tracing

    @property
    def exemplar(self) -> tuple[str, str]:
        """The label that links a metric to this request: its trace, or else its id in the log."""
        return ("request_id", self.request_id) if self.trace_id is None else ("trace_id", self.trace_id)

    def add_task(self, name: str) -> TaskRun:
        """Record that the request names a task. Only a valid name is kept."""
        run = TaskRun(name if TASK_NAME.fullmatch(name) else None)
        self.task_runs.append(run)
        return run

    def start_run(self, version: PublishedVersion) -> TaskRun:
        """Return the next run of this version that has not started, and mark it as started."""
        waiting = (run for run in self.task_runs if run.version is version and not run.has_started)
        run = next(waiting, TaskRun(version.task, version))
        run.has_started = True
        return run

    def finish_run(self, run: TaskRun, progress: Progress) -> None:
        """Record the stages of a request that has left the engine process, successfully or not."""
        now = time.monotonic()
        run.queue_s, run.inference_s = progress.queue_s, progress.inference_s
        if self.otel_span is None or not progress.queued_at:
            return
        taken = progress.queued_at + progress.queue_s if progress.queue_s else now
        self.spans.append(Span("queue", progress.queued_at, taken, {"task": run.task}))
        for batch in progress.batches:
            sizes = {
                "task": run.task,
                "batch_size": batch.num_inputs,
                "batch_tokens": batch.num_tokens,
                "batch_adapters": batch.num_adapters,
            }
            self.spans.append(Span("inference", batch.started, batch.started + batch.duration_s, sizes))


_current: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)


def find_context() -> RequestContext | None:
    """Return the context of the request being handled; None outside a request."""
    return _current.get()


def current_context() -> RequestContext:
    """Return the context of the request being handled; outside a request, a new one that is never logged."""
    return _current.get() or RequestContext()


def set_context(context: RequestContext | None) -> None:
    """Make `context` the current one in this asyncio task and in those that it starts."""
    _current.set(context)


@contextmanager
def record_span(name: str) -> Iterator[None]:
    """Record the time spent inside as a span of the current request."""
    started = time.monotonic()
    try:
        yield
    finally:
        current_context().spans.append(Span(name, started, time.monotonic()))
