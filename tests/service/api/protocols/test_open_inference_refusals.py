"""The Open Inference Protocol v2: requests that it refuses, their metrics, overload and readiness."""

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from adapters.backbone.source import LoadedBackbone
from service.registry import Snapshot
from tests.service.observability.test_metrics import scrape
from tests.support.factories import make_adapter_bytes
from tests.support.open_inference import binary, post, tensor
from tests.support.serving import parts_of, running, upload

GOOD = struct.pack("<I", 3) + b"cat"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "inputs"),
        ([], "must be a JSON object"),
        ({"inputs": []}, "inputs"),
        ({"inputs": [tensor(["a"], name="x")]}, "must have one input"),
        ({"inputs": [tensor(["a"]), tensor(["a"])]}, "must have one input"),
        ({"inputs": [tensor([1.5], datatype="FP32")]}, "texts must be BYTES"),
        ({"inputs": [tensor([1])]}, "must be a text"),
        ({"inputs": [tensor(["a", "b"], shape=[3])]}, "has 2 elements"),
        ({"inputs": [tensor(["a"], shape=[-1])]}, "shape.0: Input should be greater"),
        ({"inputs": [tensor(["a", "b"], shape=[1, 2])]}, "is a pair"),
        ({"inputs": [tensor(["a", "b", "c"], shape=[1, 3])]}, "it must be [N]"),
        ({"inputs": [tensor(["a"], shape=[1, 1, 1])]}, "it must be [N]"),
        ({"inputs": [tensor([])]}, "inputs is empty"),
        ({"inputs": [tensor(["a"] * 51)]}, "at most 50"),
        ({"inputs": [tensor([" "])]}, "input 0 is empty"),
        ({"inputs": [tensor(["\u200b"])]}, "input 0 is empty"),
        ({"inputs": [tensor(["a"])], "outputs": [{"name": "x"}]}, "outputs must be"),
        ({"inputs": [tensor(["a"])], "outputs": [{"name": "scores"}] * 2}, "each at most once"),
        ({"inputs": [tensor(["a"])], "outputs": [{"name": "scores", "parameters": {"classification": 0}}]}, "from 1"),
        ({"inputs": [tensor(["a"])], "parameters": {"truncation": "middle"}}, "truncation must be"),
        ({"inputs": [tensor(["a"])], "parameters": {"truncation": []}}, "truncation must be"),
        ({"inputs": [tensor(["a"])], "parameters": {"context": {"user": "u17"}}}, "name its field, such as"),
        ({"inputs": [tensor(["a"], parameters={"binary_data_size": 4})]}, "send one of them"),
        (binary(GOOD, [1], 99), "binary_data_size is 99"),
        (binary(GOOD, [1], "7"), "binary_data_size is '7'"),
        (binary(GOOD, [1], True), "binary_data_size is True"),
        (binary(GOOD[:-1], [1]), "ends after the binary data"),
        (binary(GOOD + b"\1\0", [1]), "inside a length field"),
        (binary(struct.pack("<I", 1) + b"\xff", [1]), "not UTF-8"),
        (binary(struct.pack("<I", 2**32 - 1) + b"a", [1]), "ends after the binary data"),
        (binary(GOOD * 2, [1]), "more elements than its shape, 1"),
        ({"inputs": [tensor(["a"], shape=[9] * 9)]}, "shape: List should have at most 8 items"),
        ({"inputs": [tensor(["a"], shape=[51])]}, "at most 50"),
        ({"inputs": [tensor(["a"], shape=[10**100])]}, "shape.0: Input should be less"),
        ((b'{"inputs": []}', {"Inference-Header-Content-Length": "9" * 5000}), "must be the number of bytes"),
        ((b'{"inputs": []}', {"Inference-Header-Content-Length": "999"}), "must be the number of bytes"),
        ((b'{"inputs": []}', {"Inference-Header-Content-Length": "-1"}), "must be the number of bytes"),
    ],
)
def test_what_cannot_be_understood(client: TestClient, body: Any, message: str) -> None:
    """Is 422, and says why."""
    content, headers = body if isinstance(body, tuple) else (body, {})
    response = post(client, content, **headers)
    assert response.status_code == 422, response.text
    assert message in response.json()["error"]


def test_other_refusals(client: TestClient) -> None:
    """No JSON, a compressed body, a pair task with texts, an unknown task, a time limit: the service's own answers."""
    assert post(client, b"{").json()["error_type"] == "malformed_json"
    assert post(client, b"\xff\xfe").status_code == 400
    body = {"inputs": [tensor(["a"])]}
    response = post(client, body, **{"Content-Encoding": "gzip"})
    assert (response.status_code, response.json()["reason"]) == (415, "content_encoding")
    assert "the shape of their tensor is [N, 2]" in post(client, body, "pairs").json()["error"]
    assert post(client, body, "nothing").status_code == 404
    assert post(client, body, **{"X-Request-Timeout-Ms": "x"}).status_code == 422
    assert post(client, b" " * (3 << 20)).status_code == 413


def test_metrics(client: TestClient) -> None:
    """Inferences are counted as predictions are, by task and code."""
    before = scrape(client)
    post(client, {"inputs": [tensor(["a"])]})
    post(client, {"inputs": [tensor([""])]}, "single/versions/2")
    post(client, {}, "nothing")
    after = scrape(client)
    for task, code in (("single", "200"), ("single", "422"), ("_other", "404")):
        key = "adakron_requests_total", (("code", code), ("task", task))
        assert after[key] - before.get(key, 0) == 1


def test_no_permit(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """Is 429 with Retry-After, which Triton's client shows as its error."""
    with running(tiny, tmp_path) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        parts_of(client.app_state["server"]).admission.num_requests = 10**6
        response = post(client, {"inputs": [tensor(["a"])]}, "t")
        parts_of(client.app_state["server"]).admission.num_requests = 0
        assert (response.status_code, response.json()["error_type"]) == (429, "overloaded")
        assert int(response.headers["Retry-After"]) >= 1
        assert post(client, {"inputs": [tensor(["a"])]}, "t").status_code == 200


def test_not_ready(tiny: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that drains is alive and not ready; a model whose bytes are damaged is not ready."""
    with running(tiny, tmp_path) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        state = client.app_state["server"]
        damaged = replace(state.follower.snapshot.resolve("t"), quarantined=True)
        monkeypatch.setattr(Snapshot, "resolve", lambda *_: damaged)
        response = client.get("/v2/models/t/ready")
        assert (response.status_code, response.json()) == (503, {"name": "t", "ready": False})
        state.draining.set()
        assert client.get("/v2/health/live").json() == {"live": True}
        response = client.get("/v2/health/ready")
        assert (response.status_code, response.json()) == (503, {"ready": False})
