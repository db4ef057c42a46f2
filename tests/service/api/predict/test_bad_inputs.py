"""POST /v1/{task}/predict refuses bad inputs, bodies and tasks, and says what to change."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from adapters.backbone.source import LoadedBackbone
from tests.support.serving import predict, refusal, running, upload

JSON = {"Content-Type": "application/json"}


def test_unknown_task_names_near_matches(client: TestClient) -> None:
    """A mistyped task is 404, never the bare backbone, and says what it may have meant."""
    assert "did you mean single" in refusal(client, "singel", {"inputs": "a"}, 404)
    assert "GET /v1/tasks" in refusal(client, "zzz", {"inputs": "a"}, 404)


@pytest.mark.parametrize(
    ("task", "body", "says"),
    [
        ("single", {"inputs": ""}, "input 0 is empty"),
        ("single", {"inputs": ["a", " \n"]}, "input 1 is empty"),
        ("single", {"inputs": ["a", "\u200b\u00ad\ufeff"]}, "input 1 is empty"),
        ("single", {"inputs": []}, "at least one"),
        ("pairs", {"inputs": [["a", ""]]}, "input 0 is empty"),
        ("single", {"inputs": [["a", "b"]]}, "takes single texts"),
        ("pairs", {"inputs": ["a", "b"]}, 'write [["a", "b"]]'),
        ("pairs", {"inputs": {"text": "a"}}, "takes pairs"),
        ("single", {"inputs": ["a"] * 51}, "at most 50"),
        ("single", {"inputs": 3}, "inputs must be a text"),
        ("single", {"inputs": [["a", "b", "c"]]}, "inputs must be a text"),
        ("single", {"inputs": {"text": "a", "more": 1}}, "inputs must be a text"),
        ("single", {"inputs": None}, "inputs must be a text"),
        ("single", {}, "inputs is missing"),
        ("single", {"input": "a"}, "inputs is missing"),
        ("single", {"inputs": "a", "topk": 1}, "topk"),
        ("single", {"inputs": "a", "top_k": 0}, "top_k"),
        ("single", {"inputs": "a", "truncation": "middle"}, "truncation"),
        ("value", {"inputs": [["a", "b"]], "top_k": 1}, "regression"),
        ("single", ["a"], "body must be a JSON object"),
    ],
)
def test_inputs_that_do_not_fit(client: TestClient, task: str, body: Any, says: str) -> None:
    """Each kind of wrong input is 422 and says what to do."""
    assert says in refusal(client, task, body)


@pytest.mark.parametrize("body", ['{"inputs": "a"', "", "{'inputs': 'a'}"])
def test_malformed_json(client: TestClient, body: str) -> None:
    """A body that is no JSON is refused as such."""
    message = refusal(client, "single", body, 400 if body else 422)
    assert "JSON" in message


def test_lone_surrogates(client: TestClient) -> None:
    """A lone surrogate in a text is 422, in either place of a pair too."""
    assert "Unicode" in refusal(client, "single", '{"inputs": "\\ud800"}')
    assert "Unicode" in refusal(client, "pairs", '{"inputs": [["a", "\\udfff"]]}')


def test_body_over_the_cap(client: TestClient) -> None:
    """A body over the cap is 413, declared or chunked, and in JSON."""
    assert "100000 bytes" in refusal(client, "single", {"inputs": "a" * 100_000}, 413)

    def chunks() -> Iterator[bytes]:
        yield b'{"inputs": "'
        yield from [b"a" * 10_000] * 11
        yield b'"}'

    response = client.post("/v1/single/predict", content=chunks(), headers={"Content-Type": "application/json"})
    assert response.status_code == 413
    assert response.json()["error_type"] == "content_too_large"


def test_body_that_is_not_json_by_its_type(client: TestClient) -> None:
    """Without a JSON content type the body is refused, and the message says so."""
    response = client.post("/v1/single/predict", content='{"inputs": "a"}', headers={"Content-Type": "text/plain"})
    assert response.status_code == 422
    assert "application/json" in response.json()["error"]


def test_more_than_may_ever_wait(tiny: LoadedBackbone, files: dict[str, bytes], tmp_path: Path) -> None:
    """A request that may have more tokens than may ever be queued is refused at once, without Retry-After."""
    with running(tiny, tmp_path, max_queued_tokens=512) as client:
        upload(client, "single", files["single"])
        assert "ADAKRON_MAX_QUEUED_TOKENS" in refusal(client, "single", {"inputs": ["a" * 100] * 9})
        assert len(predict(client, "single", ["a" * 100] * 8)["predictions"]) == 8


def test_unknown_route_and_method(client: TestClient) -> None:
    """Even 404 and 405 have the shape of every error."""
    for response, status in ((client.get("/nothing"), 404), (client.get("/v1/single/predict"), 405)):
        assert response.status_code == status
        assert {"error", "error_type"} <= set(response.json()) <= {"error", "error_type", "reason"}
