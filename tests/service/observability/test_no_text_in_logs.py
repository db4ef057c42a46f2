"""No text, no label, no path and no key is ever logged, whatever is asked."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from adapters.backbone.source import LoadedBackbone
from service.observability.tracing import Tracing
from tests.support.factories import make_adapter_bytes, make_gated_bytes
from tests.support.log_lines import MARKER, malformed, written
from tests.support.serving import ADMIN, KEY, UPLOAD, listening

LABEL = "Secret-Label-77"


def good_and_bad() -> Iterator[tuple[str, str, dict[str, str], bytes]]:
    """Requests of every kind that have the marker wherever a client can put a text."""
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [MARKER]}
    bodies: dict[str, Any] = {
        "/v1/t/predict": {"inputs": MARKER},
        "/v1/u/predict": {"inputs": MARKER, "context": {"user": MARKER}},
        "/v1/u@1/predict": {"inputs": MARKER, "context": {MARKER: MARKER}},
        "/v1/predict": {"inputs": MARKER, "tasks": ["t", "p", "u"], "context": {"user": MARKER}},
        "/tei/u/predict": {"inputs": MARKER, "context": {"user": MARKER * 40}},
        "/tei/t/predict": {"inputs": MARKER},
        "/classify": {"model": "t", "input": MARKER},
        "/v2/models/t/infer": {"inputs": [tensor]},
        "/v2/models/t/versions/1/infer": {"inputs": [tensor]},
    }
    for path, body in bodies.items():
        good = json.dumps(body).encode()
        odd = json.dumps(body | {"top_k": MARKER, "raw_scores": MARKER}).encode()
        for content in (good, good + b"}", good[:-1], json.dumps([MARKER]).encode(), odd):
            yield "POST", path, {"Content-Type": "application/json"}, content
        yield "POST", path, {"Content-Type": MARKER, "X-Request-Timeout-Ms": MARKER}, good
        yield "POST", path, {"Content-Type": "application/json", "X-Request-Timeout-Ms": MARKER}, good
        yield "POST", path + f"?inputs={MARKER}", {"Content-Type": "application/json"}, good
        yield "GET", path + f"?inputs={MARKER}", {"Authorization": f"Bearer {MARKER}"}, b""
    yield "POST", f"/v1/{MARKER}/predict", {"Content-Type": "application/json"}, b"{}"
    yield "POST", "/v1/t@1/predict", {"Content-Type": "application/json"}, json.dumps({"inputs": [MARKER, 3]}).encode()
    yield "GET", f"/{MARKER}", {"X-Request-Id": f"{MARKER} {MARKER}"}, b""
    traced = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": MARKER, "baggage": f"{MARKER},Bearer {KEY}"}
    yield "GET", "/v1/tasks", traced, b""
    yield "GET", f"/v1/tasks/{MARKER}", {"User-Agent": MARKER, "Referer": MARKER}, b""
    yield "POST", "/admin/v1/tasks/t/versions", UPLOAD, MARKER.encode() * 10
    yield "POST", f"/admin/v1/tasks/{MARKER}/versions", UPLOAD, MARKER.encode() * 10
    yield "PUT", "/admin/v1/tasks/t/aliases/live", ADMIN, json.dumps({"version": MARKER}).encode()
    yield "PUT", f"/admin/v1/tasks/t/aliases/{MARKER}", ADMIN, b'{"version": 1}'
    yield "PUT", "/admin/v1/tasks/t/weight", ADMIN, json.dumps({"weight": MARKER}).encode()
    yield "POST", "/admin/v1/keys", ADMIN, json.dumps({"name": MARKER, "scopes": [MARKER]}).encode()
    yield "GET", "/admin/v1/tasks", {"Authorization": f"Bearer {MARKER}"}, b""
    yield "GET", f"/admin/v1/audit?task={MARKER}", ADMIN, b""


@pytest.mark.parametrize("format_", ["json", "text"])
def test_no_text_is_logged(tiny: LoadedBackbone, tmp_path: Path, format_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For any request to any route, valid or not, the log at its most verbose level has no text,
    no label, no path and no key; with traces, too."""
    monkeypatch.setattr(Tracing, "from_environment", lambda: Tracing(TracerProvider(shutdown_on_exit=False)))
    data = make_adapter_bytes(identity=tiny.identity, labels=(LABEL, "other"))
    pairs = make_adapter_bytes(identity=tiny.identity, seed=1, pair=True)
    gated = make_gated_bytes(identity=tiny.identity, keys=[MARKER, "other"])
    statuses = set()
    with (
        written(log_format=format_, log_level="debug") as lines,
        listening(tiny, tmp_path, access_log=True, log_level="debug") as server,
    ):
        assert server.request("POST", "/admin/v1/tasks/t/versions", UPLOAD, data)[0] == 201
        assert server.request("POST", "/admin/v1/tasks/p/versions", UPLOAD, pairs)[0] == 201
        assert server.request("POST", "/admin/v1/tasks/u/versions", UPLOAD, gated)[0] == 201
        for method, path, headers, content in good_and_bad():
            statuses.add(server.request(method, path, headers, content)[0])
        assert malformed(server)[0] == 400
        metrics = server.request("GET", "/metrics", ADMIN)[1].decode()
    assert statuses >= {200, 400, 401, 404, 405, 422}
    assert len(lines) > 60
    assert [line for line in lines if MARKER in line or LABEL in line or KEY in line] == []
    assert 'task="u"' in metrics
    assert MARKER not in metrics
