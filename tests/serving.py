"""A whole server in the test's own process, on the tiny backbone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from adapters.source import LoadedBackbone
from service.app import create_app
from service.settings import Settings

KEY = "test-key"
ADMIN = {"Authorization": f"Bearer {KEY}"}
UPLOAD = ADMIN | {"Content-Type": "application/octet-stream"}


@contextmanager
def running(loaded: LoadedBackbone, folder: Path, **changes: Any) -> Iterator[TestClient]:
    """A client of a server with its own empty registry in `folder`."""
    settings = Settings(
        **{"data_dir": folder, "admin_key": KEY, "registry_poll_s": 0.05, "pretrained": False} | changes
    )
    with TestClient(create_app(settings, lambda _: loaded), raise_server_exceptions=False) as client:
        yield client


def upload(client: TestClient, task: str, data: bytes, **parameters: Any) -> dict[str, Any]:
    """Publish; the answer's body."""
    response = client.post(f"/admin/v1/tasks/{task}/versions", content=data, headers=UPLOAD, params=parameters)
    assert response.status_code in (200, 201), response.text
    body: dict[str, Any] = response.json()
    return body


def predict(client: TestClient, task: str, inputs: Any, **options: Any) -> dict[str, Any]:
    """Classify; the answer's body."""
    response = client.post(f"/v1/{task}/predict", json={"inputs": inputs, **options})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body
