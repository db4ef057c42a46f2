"""An OpenTelemetry collector, the destination of spans."""

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


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
