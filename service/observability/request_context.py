"""RequestContext: the facts about one HTTP request for its log line and its trace; never a text, a label or a body.

It is found by whoever works for the request, wherever that is: in its asyncio task and in those that it starts.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from service.core import TASK_NAME, PublishedVersion, Request


@dataclass(slots=True, eq=False)
class Span:
    """A part of the work."""

    name: str
    started: float  # monotonic seconds
    ended: float
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class TaskRun:
    """One task that a request asks. Set by whoever resolves the name, then by `compute`."""

    task: str | None  # None where the name is none
    version: PublishedVersion | None = None
    has_begun: bool = False
    num_inputs: int = 0
    num_tokens: int = 0
    tokenize_s: float = 0.0
    queue_s: float = 0.0
    inference_s: float = 0.0
    status: int | None = None  # its own, where a request asks several
    error_type: str | None = None


@dataclass(slots=True, eq=False)
class RequestContext:
    """One HTTP request. Made and finished by api/recording.py, or api/gate.py for what is refused there."""

    request_id: str = ""
    method: str = ""
    client: str | None = None  # address
    started: float = field(default_factory=time.monotonic)
    route: str | None = None  # as in `/v1/{task}/predict`; None where there is none
    key_id: str | None = None  # Guard
    status: int = 0
    error_type: str | None = None  # Failure
    ended: float = 0.0
    runs: list[TaskRun] = field(default_factory=list)
    stages: list[Span] = field(default_factory=list)
    trace_id: str | None = None  # Tracing
    span_id: str | None = None  # Tracing
    span: Any = None  # Tracing

    @property
    def exemplar(self) -> tuple[str, str]:
        """The label that leads from a metric to this request: of its trace, or else of its line in the log."""
        return ("request_id", self.request_id) if self.trace_id is None else ("trace_id", self.trace_id)

    def ask(self, name: str) -> TaskRun:
        """It asks the task of that name, if it is one."""
        run = TaskRun(name if TASK_NAME.fullmatch(name) else None)
        self.runs.append(run)
        return run

    def run_of(self, version: PublishedVersion) -> TaskRun:
        """The next one of this version that has not begun; now it has."""
        waiting = (run for run in self.runs if run.version is version and not run.has_begun)
        run = next(waiting, TaskRun(version.task, version))
        run.has_begun = True
        return run

    def computed(self, run: TaskRun, request: Request) -> None:
        """The scheduler is done with it, well or not."""
        timings, now = request.timings, time.monotonic()
        run.queue_s, run.inference_s = timings.queue_s, timings.inference_s
        if self.span is None:
            return
        taken = request.queued_at + timings.queue_s if timings.queue_s else now
        self.stages.append(Span("queue", request.queued_at, taken, {"task": request.task}))
        for batch in request.batches:
            sizes = {
                "task": request.task,
                "batch_size": batch.num_inputs,
                "batch_tokens": batch.num_tokens,
                "batch_adapters": batch.num_adapters,
            }
            self.stages.append(Span("inference", batch.started, batch.started + batch.duration_s, sizes))


_current: ContextVar[RequestContext | None] = ContextVar("record", default=None)


def current() -> RequestContext:
    """Of the request that is worked for; one that nobody reads where there is none."""
    return _current.get() or RequestContext()


def known() -> RequestContext | None:
    """The same, or None."""
    return _current.get()


def begin(record: RequestContext | None) -> None:
    """From now on it is `current`, in this asyncio task and those that it starts."""
    _current.set(record)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """What is done inside is a stage of the current request."""
    started = time.monotonic()
    try:
        yield
    finally:
        current().stages.append(Span(name, started, time.monotonic()))
