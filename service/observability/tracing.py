"""Tracing: requests as OpenTelemetry spans, sent to a collector by OTLP over HTTP.

OpenTelemetry's own environment variables configure it; it needs the extra `otel`.
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

FLUSH_S = 3.0  # for spans that are not sent yet when the server ends
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SDK = "opentelemetry.sdk"
_EXPORTER = "opentelemetry.exporter.otlp.proto.http"


class Tracing:
    """The traces of one server; `provider` exports its spans."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("adakron", package_version("adakron-serve"))
        self._propagator = TraceContextTextMapPropagator()
        logging.getLogger("opentelemetry.trace.span").setLevel(logging.ERROR)  # a warning quotes what a client sent

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self | None:
        """Return the tracing that OTEL_* configures; None if no collector is named.

        Raises InvalidInput for an exporter or protocol other than OTLP over HTTP, or if the SDK is not installed.
        """
        if not _is_configured(environment):
            return None
        protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), "http/protobuf")
        if protocol != "http/protobuf":
            raise InvalidInput(f"OTEL_EXPORTER_OTLP_PROTOCOL: the only protocol is http/protobuf, not {protocol!r}")
        if not (_is_installed(_SDK) and _is_installed(_EXPORTER)):
            raise InvalidInput(
                "OTEL_*: traces need OpenTelemetry's SDK, which is not installed: pip install 'adakron-serve[otel]'"
            )
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        resource = Resource.create(
            {"service.version": package_version("adakron-serve")}
        )  # merged with OTEL_RESOURCE_ATTRIBUTES
        if str(resource.attributes["service.name"]).startswith("unknown_service"):
            resource = resource.merge(Resource({"service.name": "adakron"}))
        try:
            provider = TracerProvider(resource=resource, shutdown_on_exit=False)
            provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        except ValueError as error:
            raise InvalidInput(f"OTEL_*: {error}") from error
        return cls(provider)

    def begin(self, context: RequestContext, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Start the span of a request with these raw ASGI headers; it joins the trace that they name, if any."""
        carrier = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in headers
            if name in (b"traceparent", b"tracestate")
        }
        context.otel_span = self._tracer.start_span(
            context.method,
            context=self._propagator.extract(carrier),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": context.method},
            start_time=_epoch_ns(context.started),
        )
        ids = context.otel_span.get_span_context()
        context.trace_id, context.span_id = f"{ids.trace_id:032x}", f"{ids.span_id:016x}"

    def end(self, context: RequestContext) -> None:
        """End the span of a request, with a child for each stage."""
        span = context.otel_span
        if not span.is_recording():
            return
        if context.route is not None:
            span.update_name(f"{context.method} {context.route}")
        span.set_attributes(_attributes(context))
        if context.status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        parent = set_span_in_context(span)
        for stage in context.spans:
            child = self._tracer.start_span(
                stage.name, context=parent, attributes=_stage_attributes(stage), start_time=_epoch_ns(stage.started)
            )
            child.end(_epoch_ns(stage.ended))
        span.end(_epoch_ns(context.ended))

    def close(self) -> None:
        """Send the remaining spans; give up after FLUSH_S."""
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(FLUSH_S)


def _is_configured(environment: Mapping[str, str]) -> bool:
    exporter = environment.get("OTEL_TRACES_EXPORTER", "")
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or exporter == "none":
        return False
    if exporter not in ("", "otlp"):
        raise InvalidInput(f"OTEL_TRACES_EXPORTER: the only exporter is otlp, not {exporter!r}")
    return exporter == "otlp" or any(environment.get(name) for name in _ENDPOINTS)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its package is missing
        return False


def _attributes(context: RequestContext) -> dict[str, Any]:
    found: dict[str, Any] = {
        "http.route": context.route,
        "http.response.status_code": context.status,
        "error.type": context.error_type,
        "client.address": context.client,
        "adakron.request_id": context.request_id,
    }
    if len(context.task_runs) == 1:
        (run,) = context.task_runs
        found["adakron.task"] = run.task
        if run.version is not None:
            found |= {"adakron.version": run.version.version, "adakron.digest": run.version.digest}
    elif context.task_runs:
        found["adakron.tasks"] = [_reference(run) for run in context.task_runs]
    if context.task_runs:
        found["adakron.inputs"] = max(run.num_inputs for run in context.task_runs)
        found["adakron.tokens"] = sum(run.num_tokens for run in context.task_runs)
    return {name: value for name, value in found.items() if value is not None}


def _reference(run: TaskRun) -> str:
    return run.task or "" if run.version is None else f"{run.version.task}@{run.version.version}"


def _stage_attributes(stage: Span) -> dict[str, Any]:
    return {f"adakron.{name}": value for name, value in stage.fields.items()}


def _epoch_ns(monotonic_s: float) -> int:
    return time.time_ns() - int((time.monotonic() - monotonic_s) * 1e9)
