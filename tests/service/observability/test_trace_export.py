"""The destination of spans, and a destination that does not accept them."""

import time
from pathlib import Path

import pytest

from adapters.backbone.source import LoadedBackbone
from service.observability import tracing
from tests.support.factories import make_adapter_bytes, make_gated_bytes
from tests.support.serving import running, upload
from tests.support.trace_collector import Collector, collecting

MARKER = "Xylophone-Zebra-42"


def test_sent_to_a_collector(tiny: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector that OTEL_* name has every span when the server has ended, under their service name."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    with collecting(Collector(), monkeypatch) as collector:
        with running(tiny, tmp_path) as client:
            upload(client, "t", make_adapter_bytes(identity=tiny.identity))
            assert client.post("/v1/t/predict", json={"inputs": MARKER}).status_code == 200
            upload(client, "u", make_gated_bytes(identity=tiny.identity, keys=[MARKER, "other"]))
            body = {"inputs": "a", "context": {"user": MARKER}}
            assert client.post("/v1/u/predict", json=body).json()["gate"] == "user"
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
