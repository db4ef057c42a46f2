"""AccessLog: what is left of each HTTP request: a line in the log, its errors counted, and a trace where a collector is
named."""

import logging
import time
from collections.abc import Iterable
from typing import Any

from service.observability.metrics import Metrics
from service.observability.request_context import RequestContext, TaskRun, begin
from service.observability.tracing import Tracing
from service.settings import Settings

_UNASKED = ("/health", "/v2/health/", "/metrics", "/console", "/docs", "/openapi.json", "/static")  # probes and pages

_READING = ("GET", "HEAD", "OPTIONS")  # methods that change nothing

_OF_RUNS = ("tokenize", "queue", "inference")  # stages that runs have seconds for

access = logging.getLogger("service.access")


class AccessLog:
    """One for a server. Owned by the event loop."""

    def __init__(self, settings: Settings, metrics: Metrics, tracing: Tracing | None = None) -> None:
        self._level = logging.INFO if settings.access_log else logging.DEBUG
        self._slow_s = settings.slow_request_s
        self._metrics = metrics
        self._tracing = tracing

    def begin(self, record: RequestContext, path: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """From now on it is the current one; `headers` are raw ASGI headers."""
        begin(record)
        if self._tracing is not None and not path.startswith(_UNASKED):
            self._tracing.begin(record, headers)

    def end(self, record: RequestContext, path: str) -> None:
        """It is answered."""
        record.ended = time.monotonic()
        for error_type in (record.error_type, *(run.error_type for run in record.runs)):
            if error_type is not None:
                self._metrics.observe_error(error_type)
        if record.span is not None and self._tracing is not None:
            self._tracing.end(record)
        level = self._level_of(record, path)
        if access.isEnabledFor(level):
            access.log(
                level, "%s %s %d", record.method or "-", record.route or "-", record.status, extra=_fields(record)
            )

    def _level_of(self, record: RequestContext, path: str) -> int:
        # Without an error type: not ready, which is no failure. 501: the client asked for what no server here can.
        if record.status >= 500 and record.status != 501 and record.error_type is not None:
            return logging.WARNING if record.status == 504 else logging.ERROR
        if path.startswith(_UNASKED):
            return logging.DEBUG
        if path.startswith("/admin/"):
            return logging.INFO if record.method not in _READING else self._level
        is_slow = record.runs and record.ended - record.started >= self._slow_s
        return logging.WARNING if is_slow else self._level


def _fields(record: RequestContext) -> dict[str, Any]:
    """Of the line: no text, no label, no path, no header but the request's id."""
    fields: dict[str, Any] = {
        "method": record.method or None,
        "route": record.route,
        "status": record.status,
        "error_type": record.error_type,
    }
    if len(record.runs) == 1:
        fields |= _of_run(record.runs[0])
    elif record.runs:
        fields["tasks"] = [_present(_of_run(run)) for run in record.runs]
    for stage in record.stages:
        if stage.name not in _OF_RUNS:
            fields[f"{stage.name}_ms"] = _milliseconds(stage.ended - stage.started)
    fields["total_ms"] = _milliseconds(record.ended - record.started)
    fields |= {"client": record.client, "key_id": record.key_id}
    return _present(fields)


def _of_run(run: TaskRun) -> dict[str, Any]:
    version, is_done = run.version, run.inference_s > 0
    return {
        "task": run.task,
        "version": version and version.version,
        "digest": version and version.digest,
        "inputs": run.num_inputs or None,
        "tokens": run.num_tokens or None,
        "tokenize_ms": _milliseconds(run.tokenize_s) if run.num_inputs else None,
        "queue_ms": _milliseconds(run.queue_s) if is_done else None,
        "inference_ms": _milliseconds(run.inference_s) if is_done else None,
    } | ({} if run.status is None else {"status": run.status, "error_type": run.error_type})


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
