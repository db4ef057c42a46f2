"""The line that each request leaves in the log, and its id; that no text is ever in it."""

import asyncio
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from adapters.backbone.source import LoadedBackbone
from service.core import Permit
from service.engine.engine import Engine
from service.inference.predictor import Predictor
from tests.support.factories import make_adapter_bytes
from tests.support.log_lines import MARKER, access, malformed, written
from tests.support.serving import ADMIN, KEY, UPLOAD, listening, running, upload

HEX_ID = re.compile(r"[0-9a-f]{32}")


@pytest.fixture
def client(tiny: LoadedBackbone, tmp_path: Path) -> Iterator[TestClient]:
    with running(tiny, tmp_path, access_log=True, slow_request_s=600) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        upload(client, "p", make_adapter_bytes(identity=tiny.identity, seed=1, pair=True))
        yield client


def test_a_prediction(client: TestClient) -> None:
    """Its line says by which version it was answered, how much it was, and how long each stage took."""
    with written() as lines:
        response = client.post("/v1/t@1/predict", json={"inputs": ["a film", "b"]}, headers={"X-Request-Id": "mine-1"})
    assert response.headers["X-Request-Id"] == "mine-1"
    (line,) = access(lines)
    body = response.json()
    times = {name: line.pop(name) for name in ("tokenize_ms", "queue_ms", "inference_ms", "total_ms")}
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "INFO",
        "logger": "service.access",
        "message": "POST /v1/{task}/predict 200",
        "request_id": "mine-1",
        "method": "POST",
        "route": "/v1/{task}/predict",
        "status": 200,
        "task": "t",
        "version": 1,
        "digest": body["digest"],
        "inputs": 2,
        "tokens": sum(item["tokens"] for item in body["predictions"]),
        "client": "testclient",
    }
    assert times["total_ms"] >= times["tokenize_ms"] + times["queue_ms"] + times["inference_ms"]
    assert times["inference_ms"] == body["timings_ms"]["inference"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tei/{task}/predict", {"inputs": "a"}),
        ("/classify", {"model": "t", "input": "a"}),
        ("/v2/models/{task}/infer", {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}]}),
    ],
)
def test_other_protocols(client: TestClient, path: str, body: dict[str, Any]) -> None:
    """They leave the same line."""
    with written() as lines:
        response = client.post(path.replace("{task}", "t"), json=body)
    (line,) = access(lines)
    assert response.status_code == 200
    assert (line["route"], line["task"], line["version"], line["inputs"]) == (path, "t", 1, 1)
    assert line["inference_ms"] > 0
    assert line["request_id"] == response.headers["X-Request-Id"]


def test_several_tasks(client: TestClient) -> None:
    """One line for the request, in which each task has its own status."""
    with written() as lines:
        client.post("/v1/predict", json={"inputs": "a", "tasks": ["t", "nothing", "p", "t@1"]})
    (line,) = access(lines)
    assert line["status"] == 200
    assert [(run["task"], run["status"]) for run in line["tasks"]] == [
        ("t", 200),
        ("nothing", 404),
        ("p", 422),
        ("t", 200),
    ]
    assert line["tasks"][1]["error_type"] == "unknown_task"
    assert line["tasks"][0]["inference_ms"] > 0 < line["tasks"][3]["inference_ms"]


def test_errors(client: TestClient) -> None:
    """Refusals say why by their error_type; every answer has an id."""
    requests: list[tuple[str, str, dict[str, Any], tuple[Any, ...]]] = [
        ("POST", "/v1/nothing/predict", {"json": {"inputs": "a"}}, (404, "unknown_task", "nothing")),
        ("POST", "/v1/No%0AName/predict", {"json": {"inputs": "a"}}, (404, "unknown_task", None)),
        ("POST", "/v1/t/predict", {"content": b"{"}, (422, "validation", "t")),
        ("POST", "/v1/p/predict", {"json": {"inputs": "a"}}, (422, "validation", "p")),
        ("POST", "/classify", {"json": {}}, (422, "validation", None)),
        ("POST", "/tei/nothing/predict", {"json": {"inputs": "a"}}, (404, "unknown_task", "nothing")),
        ("GET", "/v1/nothing", {}, (404, "not_found", None)),
        ("GET", "/v1/t/predict", {}, (405, "method_not_allowed", "t")),
        ("GET", "/admin/v1/tasks/t", {}, (401, "unauthorised", "t")),
        ("POST", "/admin/v1/tasks/t/versions", {"content": b"x", "headers": UPLOAD}, (422, "upload_refused", "t")),
    ]
    with written() as lines:
        answers = [client.request(method, path, **options) for method, path, options, _ in requests]
    found = access(lines)
    expected = [entry for *_, entry in requests]
    assert [(line["status"], line.get("error_type"), line.get("task")) for line in found] == expected
    assert [answer.headers["X-Request-Id"] for answer in answers] == [line["request_id"] for line in found]
    assert all(HEX_ID.fullmatch(line["request_id"]) for line in found)
    assert len({line["request_id"] for line in found}) == len(found)


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [
        ("0192f5a0-7c3e-7b1a-9f00-1f6f0d1c2b3a", True),
        ("Root=1-67891233-abcdef012345678912345678", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("", False),
        ("with space", False),
        ("tab\tand more", False),
        ('quote"', False),
        ("ümlaut".encode("latin-1"), False),
    ],
)
def test_ids_of_clients(client: TestClient, given: str | bytes, is_kept: bool) -> None:
    """An id that is short and plain is kept; any other is replaced."""
    answer = client.get("/v1/tasks", headers=[("X-Request-Id", given)]).headers["X-Request-Id"]  # type: ignore[list-item]
    assert (answer == given) if is_kept else HEX_ID.fullmatch(answer)


def test_who_asked(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """A line names the key by its id, and changes by the admin API are logged without an access log, too."""
    with running(tiny, tmp_path, require_key=True, slow_request_s=600) as client, written() as lines:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        made = client.post("/admin/v1/keys", json={"name": "n", "scopes": ["predict"]}, headers=ADMIN).json()
        bearer = {"Authorization": f"Bearer {made['key']}"}
        assert client.post("/v1/t/predict", json={"inputs": "a"}, headers=bearer).status_code == 200
        assert client.get("/admin/v1/tasks", headers=ADMIN).status_code == 200
    first, second = access(lines)
    assert (first["route"], first["key_id"], first["status"]) == ("/admin/v1/tasks/{task}/versions", "root", 201)
    assert first["total_ms"] >= first["check_ms"] + first["publish_ms"] + first["announce_ms"] > 0
    assert (second["route"], second["key_id"]) == ("/admin/v1/keys", "root")
    assert not any(KEY in line or made["key"] in line for line in lines)


def test_slow_and_failed(client: TestClient, tiny: LoadedBackbone, tmp_path: Path, monkeypatch: Any) -> None:
    """Without an access log there are lines for what is slow or fails, and no other; each names its request."""

    async def fail(*_: object) -> None:
        raise RuntimeError("broken")

    with running(tiny, tmp_path, slow_request_s=1e-9) as slow, written() as lines:
        assert slow.post("/v1/t/predict", json={"inputs": "a"}).status_code == 200
        assert slow.get("/v1/tasks").status_code == 200
    assert [(line["level"], line["status"]) for line in access(lines)] == [("WARNING", 200)]
    with running(tiny, tmp_path, slow_request_s=600) as quick, written(log_level="warning") as lines:
        assert quick.post("/v1/t/predict", json={"inputs": "a"}).status_code == 200
        assert lines == []
        monkeypatch.setattr(Engine, "compute", fail)
        answer = quick.post("/v1/t/predict", json={"inputs": "a"}, headers={"X-Request-Id": "x"})
        assert answer.status_code == 500
    message, line = map(json.loads, lines)
    assert (line["level"], line["status"], line["error_type"]) == ("ERROR", 500, "inference_failed")
    assert message["request_id"] == line["request_id"] == answer.headers["X-Request-Id"] == "x"
    assert "RuntimeError" in message["exception"]


def test_a_server_that_is_not_ready_is_no_error(client: TestClient) -> None:
    """Probes of readiness are answered 503 while a server drains, as they should: that is no error."""
    draining: asyncio.Event = client.app_state["server"].draining
    draining.set()
    with written() as lines:
        for path in ("/health/ready", "/v2/health/ready"):
            assert client.get(path).status_code == 503
    draining.clear()
    assert {line["level"] for line in access(lines)} <= {"INFO", "DEBUG"}


def test_a_bug_is_logged_without_what_it_met(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug is 500 with an id, under which the log has where it happened, and nothing of the text."""

    def fail(_: Predictor, permit: Permit, inputs: Any, *rest: Any, **options: Any) -> None:
        raise KeyError(inputs)

    for path, told in (("/v1/t/predict", "internal"), ("/tei/t/predict", "Backend")):  # each in its protocol's words
        monkeypatch.setattr(Predictor, "reserve", fail)
        with written() as lines:
            answer = client.post(path, json={"inputs": MARKER})
        assert (answer.status_code, answer.json()["error_type"]) == (500, told)
        bug, line = map(json.loads, lines)
        assert bug["request_id"] == line["request_id"] == answer.headers["X-Request-Id"]
        assert "builtins.KeyError" in bug["exception"]
        assert "test_request_log.py" in bug["exception"]
        assert line["error_type"] == "internal"
        assert MARKER not in "".join(lines)


def test_malformed_requests_have_an_id(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """Bytes that are not HTTP get an error with an id, like any other error."""
    with written() as lines, listening(tiny, tmp_path, access_log=True) as server:
        status, body = malformed(server)
    assert (status, json.loads(body)["error_type"]) == (400, "malformed_http")
    (line,) = [line for line in access(lines) if line["status"] == 400]
    assert (line["error_type"], line["client"]) == ("malformed_http", "127.0.0.1")


HELD = b"POST /v1/t/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"


def test_refusals_at_the_gate(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """A request rejected by its head alone leaves the same log line as the route would, with the proxy's client."""
    with listening(tiny, tmp_path, access_log=True, max_queued_requests=1, log_level="info") as server:
        data = make_adapter_bytes(identity=tiny.identity)
        assert server.request("POST", "/admin/v1/tasks/t/versions", UPLOAD, data)[0] == 201
        with written() as lines, socket.create_connection(("127.0.0.1", server.port)) as holder:
            holder.sendall(HELD)
            statuses = (server.request("POST", "/v1/t/predict", {}, b"")[0] for _ in range(1000))
            assert 429 in statuses
            lines.clear()
            answers = [
                server.request("POST", path, {"X-Request-Id": "x", "X-Forwarded-For": "192.0.2.7"}, b"{}")
                for path in ("/v1/t/predict", "/v1/t/predict?by=route")
            ]
            until = time.monotonic() + 10
            while len(access(lines)) < 2 and time.monotonic() < until:  # a route logs after its answer
                time.sleep(0.01)
            early, late = access(lines)
    assert [status for status, _ in answers] == [429, 429]
    later = {"version", "digest"}  # only the route looks them up
    assert set(late) - set(early) == later
    changing = dict.fromkeys(("time", "total_ms", *later))
    assert early | changing == late | changing
    assert (early["request_id"], early["task"], early["error_type"]) == ("x", "t", "overloaded")
    assert early["client"] == "192.0.2.7"
