"""Tracing: records of requests as OpenTelemetry spans, sent to a collector by OTLP over HTTP.

What sets it up are OpenTelemetry's own environment variables; it needs the extra `otel`.
"""

import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import version as package_version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self

from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.errors import InvalidInput
from service.observability.request_context import RequestContext, Span, TaskRun

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

FLUSH_S = 3.0  # for what is not sent yet when the server ends
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SDK = "opentelemetry.sdk"
_EXPORTER = "opentelemetry.exporter.otlp.proto.http"


class Tracing:
    """One for a server. `provider` says what becomes of the spans."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("adakron", package_version("adakron-serve"))
        self._propagator = TraceContextTextMapPropagator()
        logging.getLogger("opentelemetry.trace.span").setLevel(logging.ERROR)  # a warning quotes what a client sent

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self | None:
        """None where no collector is named. Raises InvalidInput where what is asked for is not there."""
        if not _is_asked_for(environment):
            return None
        protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), "http/protobuf")
        if protocol != "http/protobuf":
            raise InvalidInput(f"traces are sent by http/protobuf, not {protocol!r} (OTEL_EXPORTER_OTLP_PROTOCOL)")
        if not (_is_installed(_SDK) and _is_installed(_EXPORTER)):
            raise InvalidInput(
                "OTEL_* asks for traces, but OpenTelemetry's SDK is not installed: pip install 'adakron-serve[otel]'"
            )
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        resource = Resource.create({"service.version": package_version("adakron-serve")})  # and what OTEL_* say
        if str(resource.attributes["service.name"]).startswith("unknown_service"):
            resource = resource.merge(Resource({"service.name": "adakron"}))
        try:
            provider = TracerProvider(resource=resource, shutdown_on_exit=False)
            provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        except ValueError as error:
            raise InvalidInput(f"OTEL_*: {error}") from error
        return cls(provider)

    def begin(self, record: RequestContext, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Start the span of a request with these raw ASGI headers; where they name a trace, it belongs to that."""
        carrier = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in headers
            if name in (b"traceparent", b"tracestate")
        }
        record.span = self._tracer.start_span(
            record.method,
            context=self._propagator.extract(carrier),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": record.method},
            start_time=_epoch_ns(record.started),
        )
        context = record.span.get_span_context()
        record.trace_id, record.span_id = f"{context.trace_id:032x}", f"{context.span_id:016x}"

    def end(self, record: RequestContext) -> None:
        """End it, with a child for each stage."""
        span = record.span
        if not span.is_recording():
            return
        if record.route is not None:
            span.update_name(f"{record.method} {record.route}")
        span.set_attributes(_attributes(record))
        if record.status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        parent = set_span_in_context(span)
        for stage in record.stages:
            child = self._tracer.start_span(
                stage.name, context=parent, attributes=_of_stage(stage), start_time=_epoch_ns(stage.started)
            )
            child.end(_epoch_ns(stage.ended))
        span.end(_epoch_ns(record.ended))

    def close(self) -> None:
        """Send what is not sent yet, or give it up."""
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(FLUSH_S)


def _is_asked_for(environment: Mapping[str, str]) -> bool:
    exporter = environment.get("OTEL_TRACES_EXPORTER", "")
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or exporter == "none":
        return False
    if exporter not in ("", "otlp"):
        raise InvalidInput(f"traces are exported by otlp, not {exporter!r} (OTEL_TRACES_EXPORTER)")
    return exporter == "otlp" or any(environment.get(name) for name in _ENDPOINTS)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package that it is in
        return False


def _attributes(record: RequestContext) -> dict[str, Any]:
    found: dict[str, Any] = {
        "http.route": record.route,
        "http.response.status_code": record.status,
        "error.type": record.error_type,
        "client.address": record.client,
        "adakron.request_id": record.request_id,
    }
    if len(record.runs) == 1:
        (run,) = record.runs
        found["adakron.task"] = run.task
        if run.version is not None:
            found |= {"adakron.version": run.version.version, "adakron.digest": run.version.digest}
    elif record.runs:
        found["adakron.tasks"] = [_reference(run) for run in record.runs]
    if record.runs:
        found["adakron.inputs"] = max(run.num_inputs for run in record.runs)
        found["adakron.tokens"] = sum(run.num_tokens for run in record.runs)
    return {name: value for name, value in found.items() if value is not None}


def _reference(run: TaskRun) -> str:
    return run.task or "" if run.version is None else f"{run.version.task}@{run.version.version}"


def _of_stage(stage: Span) -> dict[str, Any]:
    return {f"adakron.{name}": value for name, value in stage.fields.items()}


def _epoch_ns(monotonic_s: float) -> int:
    return time.time_ns() - int((time.monotonic() - monotonic_s) * 1e9)
