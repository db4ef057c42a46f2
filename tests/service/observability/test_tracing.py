"""Traces: their spans, and what they belong to."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from adapters.backbone.source import LoadedBackbone
from service.engine.engine import Engine
from service.errors import InvalidInput
from service.observability import tracing
from service.observability.tracing import Tracing
from tests.support.factories import make_adapter_bytes
from tests.support.serving import UPLOAD, running, upload

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
MARKER = "Xylophone-Zebra-42"


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Every span of a server that is started now."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(Tracing, "from_environment", lambda: Tracing(provider))
    return exporter


@pytest.fixture
def client(tiny: LoadedBackbone, tmp_path: Path, exporter: InMemorySpanExporter) -> Iterator[TestClient]:
    with running(tiny, tmp_path, access_log=True) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        upload(client, "u", make_adapter_bytes(identity=tiny.identity, seed=1))
        exporter.clear()
        yield client


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def split(exporter: InMemorySpanExporter) -> tuple[ReadableSpan, list[ReadableSpan]]:
    """The one span of a server, and its children by time."""
    spans = exporter.get_finished_spans()
    (server,) = (span for span in spans if span.kind is SpanKind.SERVER)
    children = sorted((span for span in spans if span is not server), key=lambda span: span.start_time or 0)
    for child in children:
        assert child.parent is not None
        assert child.parent.span_id == server.context.span_id
        assert child.context.trace_id == server.context.trace_id
        assert server.start_time <= child.start_time <= child.end_time <= server.end_time  # type: ignore[operator]
    return server, children


def test_a_prediction(client: TestClient, exporter: InMemorySpanExporter) -> None:
    """One span for the request, in it one for each stage; none has the text."""
    headers = {"X-Request-Id": "mine"}
    body = client.post("/v1/t/predict", json={"inputs": [MARKER, "b"]}, headers=headers).json()
    server, children = split(exporter)
    assert server.name == "POST /v1/{task}/predict"
    assert server.parent is None
    assert server.status.status_code is StatusCode.UNSET
    assert attributes(server) == {
        "http.request.method": "POST",
        "http.route": "/v1/{task}/predict",
        "http.response.status_code": 200,
        "client.address": "testclient",
        "adakron.request_id": "mine",
        "adakron.task": "t",
        "adakron.version": 1,
        "adakron.digest": body["digest"],
        "adakron.inputs": 2,
        "adakron.tokens": sum(item["tokens"] for item in body["predictions"]),
    }
    assert [span.name for span in children] == ["tokenize", "queue", "inference"]
    assert attributes(children[2]) == {
        "adakron.task": "t",
        "adakron.batch_size": 2,
        "adakron.batch_tokens": attributes(server)["adakron.tokens"],
        "adakron.batch_adapters": 1,
    }
    inference_ms = ((children[2].end_time or 0) - (children[2].start_time or 0)) / 1e6
    assert inference_ms == pytest.approx(body["timings_ms"]["inference"], abs=0.1)
    assert MARKER not in "".join(span.to_json() for span in exporter.get_finished_spans())


def test_a_trace_of_the_client(client: TestClient, exporter: InMemorySpanExporter, caplog: Any) -> None:
    """A request that belongs to a trace goes on with it; the line in the log names trace and span."""
    caplog.set_level(logging.INFO)
    client.post("/v1/t/predict", json={"inputs": "a"}, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    server, _ = split(exporter)
    assert server.context.trace_id == int(TRACE, 16)
    assert server.parent is not None
    assert server.parent.span_id == int(PARENT, 16)
    exporter.clear()
    client.post("/v1/t/predict", json={"inputs": "a"}, headers={"traceparent": "nonsense"})
    assert split(exporter)[0].parent is None


def test_not_sampled(client: TestClient, exporter: InMemorySpanExporter) -> None:
    """A client that does not sample its trace gets its answer, and nothing is recorded."""
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
    assert client.post("/v1/t/predict", json={"inputs": "a"}, headers=headers).status_code == 200
    assert exporter.get_finished_spans() == ()


def test_several_tasks(client: TestClient, exporter: InMemorySpanExporter) -> None:
    """One span for the request, with a queue and a batch for each task."""
    client.post("/v1/predict", json={"inputs": "a", "tasks": ["t", "u"]})
    server, children = split(exporter)
    assert attributes(server)["adakron.tasks"] == ("t@1", "u@1")
    assert sorted(span.name for span in children) == ["inference", "inference", "queue", "queue", "tokenize"]
    batches = [span for span in children if span.name == "inference"]
    assert {attributes(span)["adakron.task"] for span in batches} == {"t", "u"}
    assert [attributes(span)["adakron.batch_adapters"] for span in batches] == [2, 2]


def test_errors(client: TestClient, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client's error is an attribute, a server's an error of the span."""
    client.post("/v1/t/predict", json={"inputs": []})
    server, _ = split(exporter)
    assert attributes(server)["error.type"] == "validation"
    assert server.status.status_code is StatusCode.UNSET
    exporter.clear()

    async def fail(*_: object) -> None:
        raise RuntimeError(MARKER)

    monkeypatch.setattr(Engine, "compute", fail)
    client.post("/v1/t/predict", json={"inputs": "a"})
    server, _ = split(exporter)
    assert attributes(server)["http.response.status_code"] == 500
    assert server.status.status_code is StatusCode.ERROR
    assert MARKER not in server.to_json()


def test_an_upload(client: TestClient, tiny: LoadedBackbone, exporter: InMemorySpanExporter) -> None:
    """Its stages are its check, its publication, and its way to being live; a refused one ends with its check."""
    upload(client, "t", make_adapter_bytes(identity=tiny.identity, seed=2))
    server, children = split(exporter)
    assert server.name == "POST /admin/v1/tasks/{task}/versions"
    assert attributes(server)["adakron.task"] == "t"
    assert [span.name for span in children] == ["check", "publish", "announce"]
    exporter.clear()
    client.post("/admin/v1/tasks/t/versions", content=b"bad", headers=UPLOAD)
    server, children = split(exporter)
    assert [span.name for span in children] == ["check"]
    assert attributes(server)["error.type"] == "upload_refused"


def test_probes_are_not_traced(client: TestClient, exporter: InMemorySpanExporter) -> None:
    """Health checks and scrapes leave no span."""
    for path in ("/health/live", "/health/ready", "/metrics", "/openapi.json"):
        assert client.get(path).status_code == 200
    assert exporter.get_finished_spans() == ()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SERVICE_NAME": "x"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_off(environment: dict[str, str]) -> None:
    """Nothing is traced without a collector, or if OpenTelemetry is switched off."""
    assert Tracing.from_environment(environment) is None


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf, not 'grpc'"),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "otlp, not 'zipkin'"),
    ],
)
def test_what_cannot_be_done(environment: dict[str, str], message: str) -> None:
    """A set-up that would lose traces in silence is an error at start."""
    with pytest.raises(InvalidInput, match=message):
        Tracing.from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"} | environment)


@pytest.mark.parametrize("missing", ["opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"])
def test_without_the_extra(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If OpenTelemetry's SDK or its exporter is not installed, one line names the extra to install."""
    monkeypatch.setattr(tracing, "find_spec", lambda name: None if name == missing else object())
    with pytest.raises(InvalidInput, match=r"pip install 'adakron-serve\[otel\]'"):
        Tracing.from_environment({"OTEL_TRACES_EXPORTER": "otlp"})
