"""Requests to the servers of a stack."""

from typing import Any

import httpx

from tests.docker.stack import ROOT

SINGLE, PAIRS = {"sst2", "cola"}, {"rte", "mrpc", "stsb"}


def shipped(task: str) -> bytes:
    """An adapter file that comes with the project."""
    return (ROOT / "adapters" / "pretrained" / f"{task}.safetensors").read_bytes()


def publish(url: str, admin: dict[str, str], task: str, data: bytes) -> dict[str, Any]:
    """Upload a version; the answer's body."""
    response = httpx.post(f"{url}/admin/v1/tasks/{task}/versions", content=data, headers=admin, timeout=30)
    assert response.status_code == 201, response.text
    return dict(response.json())


def predict(url: str, task: str, inputs: Any = "A wonderful, moving film.") -> httpx.Response:
    """Ask for a prediction."""
    return httpx.post(f"{url}/v1/{task}/predict", json={"inputs": inputs}, timeout=30)


def digest(url: str, task: str) -> str | None:
    """The digest of the version that answers there; None if there is no answer."""
    response = predict(url, task)
    return str(response.json()["digest"]) if response.status_code == 200 else None
