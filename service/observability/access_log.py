"""AccessLog: each HTTP request leaves a log line, its errors in the metrics, and a trace if a collector is set."""

import logging
import time
from collections.abc import Iterable
from typing import Any

from service.observability.metrics import Metrics
from service.observability.request_context import RequestContext, TaskRun, set_context
from service.observability.tracing import Tracing
from service.settings import Settings

# Probes and pages: without a trace, and logged at level debug.
_QUIET = ("/health", "/v2/health/", "/metrics", "/console", "/docs", "/openapi.json", "/static")
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_RUN_STAGES = ("tokenize", "queue", "inference")  # logged from TaskRun, not from spans

access = logging.getLogger("service.access")


class AccessLog:
    """The access log of one server. Owned by the event loop."""

    def __init__(self, settings: Settings, metrics: Metrics, tracing: Tracing | None = None) -> None:
        self._level = logging.INFO if settings.access_log else logging.DEBUG
        self._slow_s = settings.slow_request_s
        self._metrics = metrics
        self._tracing = tracing

    def keeps(self, duration_s: float) -> bool:
        """Whether `end` would log or trace a refused prediction that took so long, and not only count its error."""
        return self._tracing is not None or duration_s >= self._slow_s or access.isEnabledFor(self._level)

    def begin(self, context: RequestContext, path: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Make `context` the current one and start its trace; `headers` are raw ASGI headers."""
        set_context(context)
        if self._tracing is not None and not path.startswith(_QUIET):
            self._tracing.begin(context, headers)

    def end(self, context: RequestContext, path: str) -> None:
        """Count the errors of a request that is answered, end its trace, and log it."""
        context.ended = time.monotonic()
        for error_type in (context.error_type, *(run.error_type for run in context.task_runs)):
            if error_type is not None:
                self._metrics.observe_error(error_type)
        if context.otel_span is not None and self._tracing is not None:
            self._tracing.end(context)
        level = self._find_level(context, path)
        if access.isEnabledFor(level):
            shown = context.method or "-", context.route or "-", context.status
            access.log(level, "%s %s %d", *shown, extra=_fields(context))

    def _find_level(self, context: RequestContext, path: str) -> int:
        # 5xx without an error type is a probe's answer, not a failure. 501 is a request that no server here can answer.
        if context.status >= 500 and context.status != 501 and context.error_type is not None:
            return logging.WARNING if context.status == 504 else logging.ERROR
        if path.startswith(_QUIET):
            return logging.DEBUG
        if path.startswith("/admin/"):
            return logging.INFO if context.method not in _SAFE_METHODS else self._level
        is_slow = context.task_runs and context.ended - context.started >= self._slow_s
        return logging.WARNING if is_slow else self._level


def _fields(context: RequestContext) -> dict[str, Any]:
    """Return the fields of the log line: no text, no label, no path, and of the headers only the request's id."""
    fields: dict[str, Any] = {
        "method": context.method or None,
        "route": context.route,
        "status": context.status,
        "error_type": context.error_type,
    }
    if len(context.task_runs) == 1:
        fields |= _run_fields(context.task_runs[0])
    elif context.task_runs:
        fields["tasks"] = [_drop_none(_run_fields(run)) for run in context.task_runs]
    for span in context.spans:
        if span.name not in _RUN_STAGES:
            fields[f"{span.name}_ms"] = _milliseconds(span.ended - span.started)
    fields["total_ms"] = _milliseconds(context.ended - context.started)
    fields |= {"client": context.client, "key_id": context.key_id}
    return _drop_none(fields)


def _run_fields(run: TaskRun) -> dict[str, Any]:
    version, is_computed = run.version, run.inference_s > 0
    return {
        "task": run.task,
        "version": version and version.version,
        "digest": version and version.digest,
        "inputs": run.num_inputs or None,
        "tokens": run.num_tokens or None,
        "tokenize_ms": _milliseconds(run.tokenize_s) if run.num_inputs else None,
        "queue_ms": _milliseconds(run.queue_s) if is_computed else None,
        "inference_ms": _milliseconds(run.inference_s) if is_computed else None,
    } | ({} if run.status is None else {"status": run.status, "error_type": run.error_type})


def _drop_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
