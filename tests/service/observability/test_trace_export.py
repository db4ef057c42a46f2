"""The destination of spans, and a destination that does not accept them."""

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from adapters.backbone.source import LoadedBackbone
from service.observability import tracing
from tests.support.factories import make_adapter_bytes
from tests.support.serving import running, upload

MARKER = "Xylophone-Zebra-42"


@dataclass
class Collector:
    """An OpenTelemetry collector for OTLP over HTTP."""

    status: int = 200
    delay_s: float = 0.0
    received: list[ExportTraceServiceRequest] = field(default_factory=list)

    @property
    def spans(self) -> list[tuple[dict[str, str], Any]]:
        """Each with the resource that it came from."""
        return [
            ({item.key: item.value.string_value for item in group.resource.attributes}, span)
            for request in self.received
            for group in request.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]


@contextmanager
def collecting(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """It listens on this machine, and the environment names it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            time.sleep(collector.delay_s)
            collector.received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(collector.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_sent_to_a_collector(tiny: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector that OTEL_* name has every span when the server has ended, under their service name."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    with collecting(Collector(), monkeypatch) as collector:
        with running(tiny, tmp_path) as client:
            upload(client, "t", make_adapter_bytes(identity=tiny.identity))
            assert client.post("/v1/t/predict", json={"inputs": MARKER}).status_code == 200
        monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
        with running(tiny, tmp_path) as client:
            assert client.get("/v1/tasks").status_code == 200
    names = [span.name for _, span in collector.spans]
    assert {"POST /v1/{task}/predict", "tokenize", "queue", "inference", "check", "publish"} <= set(names)
    assert [resource["service.name"] for resource, _ in collector.spans] == ["adakron"] * (len(names) - 1) + ["mine"]
    assert all(resource["deployment.environment"] == "test" for resource, _ in collector.spans)
    assert MARKER.encode() not in b"".join(request.SerializeToString() for request in collector.received)


@pytest.mark.parametrize("collector", [Collector(status=503), Collector(delay_s=3), None], ids=["503", "slow", "dead"])
def test_a_collector_that_fails(
    collector: Collector | None, tiny: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collector that is dead, slow or full holds up no request, and the end of the server by no more than FLUSH_S."""
    monkeypatch.setattr(tracing, "FLUSH_S", 0.5)
    with collecting(collector or Collector(), monkeypatch):
        if collector is None:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        with running(tiny, tmp_path) as client:
            upload(client, "t", make_adapter_bytes(identity=tiny.identity))
            assert client.post("/v1/t/predict", json={"inputs": "a"}).status_code == 200
            began = time.monotonic()
        assert time.monotonic() - began < 0.5 + 2.0
