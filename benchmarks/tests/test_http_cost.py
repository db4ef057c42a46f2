"""benchmarks.serving.http_cost: it measures servers that answer, and counts the right processes."""

from pathlib import Path

import httpx
import pytest

from adapters.backbone.source import load_backbone
from benchmarks.serving.http_cost import ROOT, floor, full_service, service
from benchmarks.serving.load import http_request, predict_request
from benchmarks.serving.server import publish_random, task_name


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with one task."""
    path = tmp_path_factory.mktemp("registry") / "registry.sqlite3"
    publish_random(f"sqlite:///{path}", load_backbone().identity, 1)
    return path


@pytest.mark.parametrize("name", ["protocol", "uvicorn"])
def test_a_floor_answers_each_request(name: str) -> None:
    """A server without a service answers 200, and its processor time is counted."""
    with floor(name) as server:
        requests_per_s, p50_ms, http_us, other_us = server.measure([http_request("/", b"{}")], 0.5)
    assert requests_per_s > 0
    assert p50_ms > 0
    assert http_us > 0
    assert other_us == 0


def test_the_engine_of_the_service_answers_at_once(registry: Path) -> None:
    """The service answers with the constant logits of its engine."""
    with service("engine at once", registry, ROOT) as server:
        url = f"http://127.0.0.1:{server.port}/v1/{task_name(0)}/predict"
        answer = httpx.post(url, json={"inputs": "a film", "raw_scores": True}).json()
        assert answer["predictions"][0]["scores"] == {"no": 0.0, "yes": 1.0}
        requests_per_s, _, http_us, _ = server.measure([predict_request(task_name(0), "a warm film")], 1)
    assert requests_per_s > 0
    assert http_us > 0


def test_a_full_service_refuses_every_client(registry: Path) -> None:
    """With an engine that hangs, each request is answered 429."""
    with full_service("refused", registry, ROOT) as server:
        requests_per_s, p50_ms, _, _ = server.measure([predict_request(task_name(0), "a warm film")], 1)
    assert requests_per_s > 0
    assert p50_ms > 0
