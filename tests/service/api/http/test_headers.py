"""Headers of every answer, on every route, good or bad: no sniffing, nothing of users kept, no page in a frame."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from adapters.backbone.source import LoadedBackbone
from tests.service.api.http.test_methods import PATHS
from tests.support.factories import make_adapter_bytes
from tests.support.serving import ADMIN, listening, running, upload

PAGES = ("/console", "/docs", "/openapi.json", "/static-offline-docs")
FRAMED_NOWHERE = ("/console", "/docs")


@pytest.fixture(scope="module")
def client(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running(tiny, tmp_path_factory.mktemp("headers")) as client:
        client.follow_redirects = False
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        yield client


@pytest.mark.parametrize("path", sorted({*PATHS, "/nothing", "/console/nothing", "/docs/nothing"}))
def test_every_answer_has_them_once(client: TestClient, path: str) -> None:
    """With a key and without, by a method that the path takes or not: the headers of its path, once each."""
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "BREW"):
        for headers in (ADMIN, {}) if method in ("GET", "HEAD", "POST") else ({},):
            answer = client.request(method, path, headers=headers)
            known = (method, answer.status_code)
            assert answer.headers.get_list("X-Content-Type-Options") == ["nosniff"], known
            kept = "no-cache" if path.startswith(PAGES) else "no-store"
            assert answer.headers.get_list("Cache-Control") == [kept], known
            if path.startswith(FRAMED_NOWHERE):
                assert answer.headers.get_list("X-Frame-Options") == ["DENY"], known
                assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"], known


def test_a_bug_has_them_too(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer of 500, of the short way of predictions and of FastAPI's."""

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("service.registry.snapshot.Snapshot.resolve", broken)
    monkeypatch.setattr("service.registry.snapshot.Snapshot.live", broken)
    for answer in (client.post("/v1/t/predict", json={"inputs": "a"}), client.get("/v1/tasks")):
        assert answer.status_code == 500
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"


def test_an_answer_without_a_route_has_them(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """The connection's own answer to bytes that are not HTTP."""
    with listening(tiny, tmp_path) as server, socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        connection.sendall(b"no HTTP at all\r\n\r\n")
        head = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")[0]
    assert head.startswith(b"HTTP/1.1 400")
    assert b"\r\nx-content-type-options: nosniff\r\ncache-control: no-store" in head
