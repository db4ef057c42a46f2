"""A whole server in the test process, on the tiny backbone."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from adapters.backbone.source import LoadedBackbone
from service.api.state import ServerState
from service.app import create_app
from service.engine_process.local import EngineParts, LocalDispatcher
from service.server.graceful_server import GracefulServer
from service.settings import Settings

KEY = "a-key-for-tests-only"
ADMIN = {"Authorization": f"Bearer {KEY}"}
UPLOAD = ADMIN | {"Content-Type": "application/octet-stream"}


def settings_for(folder: Path, **changes: Any) -> Settings:
    """Return settings with an empty registry in `folder`."""
    given = {"data_dir": folder, "admin_key": KEY, "registry_poll_s": 0.05, "publish_shipped_adapters": False}
    return Settings(**given | changes)


@contextmanager
def running(loaded: LoadedBackbone, folder: Path, **changes: Any) -> Iterator[TestClient]:
    """Yield a client of a server with an empty registry in `folder`."""
    app = create_app(settings_for(folder, **changes), lambda _: loaded)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@dataclass(frozen=True)
class Listening:
    """A server on a real socket of this process, for requests that a test client would correct before it sends them."""

    port: int
    server: GracefulServer | None = None  # if it is in this process

    @property
    def state(self) -> ServerState:
        """The state of a server in this process."""
        assert self.server is not None
        state: ServerState = self.server.lifespan.state["server"]
        return state

    def request(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, bytes]:
        """Return status and body; `path` and the headers are sent exactly as they are."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host="Host" in (headers or {}))
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


@contextmanager
def listening(loaded: LoadedBackbone, folder: Path, **changes: Any) -> Iterator[Listening]:
    """Run the same server as `running` under uvicorn on a free port."""
    settings = settings_for(folder, **{"log_level": "warning"} | changes)
    server = GracefulServer(create_app(settings, lambda _: loaded), settings, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield Listening(server.servers[0].sockets[0].getsockname()[1], server)
    finally:
        server.should_exit = True
        thread.join(30)


def parts_of(state: ServerState) -> EngineParts:
    """Return the engine side of a server in this process."""
    assert isinstance(state.dispatcher, LocalDispatcher)
    return state.dispatcher.parts


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


def refusal(client: TestClient, task: str, body: Any, status: int = 422) -> str:
    """Send a prediction that the server refuses with `status`, check the shape of the error and return its message."""
    content = {"content": body} if isinstance(body, str | bytes) else {"json": body}
    response = client.post(f"/v1/{task}/predict", headers={"Content-Type": "application/json"}, **content)
    assert response.status_code == status, response.text
    assert {"error", "error_type"} <= set(response.json()) <= {"error", "error_type", "reason"}
    message: str = response.json()["error"]
    return message
