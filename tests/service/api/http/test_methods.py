"""Every path with every method: allowed ones work, others are 405 with a true Allow, and HEAD is GET without a body."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from adapters.backbone.source import LoadedBackbone
from service.app import create_app
from service.settings import Settings
from tests.support.factories import make_adapter_bytes
from tests.support.serving import ADMIN, Listening, listening, running, upload

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
UNDOCUMENTED = {
    path: {"GET"}
    for path in (
        "/",
        "/console",
        "/console/",
        "/console/app.js",
        "/docs",
        "/docs/oauth2-redirect",
        "/openapi.json",
        "/static-offline-docs/swagger-ui.css",
    )
}


def filled(path: str) -> str:
    return path.format(task="t", version=1, alias="live", key_id="0123456789ab")


def all_paths() -> dict[str, set[str]]:
    """Every path of the application, filled in, with its methods."""
    documented = create_app(Settings()).openapi()["paths"]
    return {filled(path): {method.upper() for method in methods} for path, methods in documented.items()} | UNDOCUMENTED


PATHS = all_paths()
READ = sorted(path for path, methods in PATHS.items() if "GET" in methods)


@pytest.fixture(scope="module")
def client(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running(tiny, tmp_path_factory.mktemp("methods")) as client:
        client.follow_redirects = False
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        yield client


OTHER_PROTOCOLS = {"/classify", "/tei/t/predict"}  # their own tests know the fields


@pytest.mark.parametrize("path", sorted(PATHS))
def test_allow_names_what_the_path_takes(client: TestClient, path: str) -> None:
    """Every other method is 405; the header and the message name all methods of the path, and HEAD beside GET."""
    taken = PATHS[path] | ({"HEAD"} if "GET" in PATHS[path] else set())
    allow = ", ".join(sorted(taken))
    for method in METHODS:
        response = client.request(method, path)
        if method in taken:
            assert response.status_code not in (404, 405), method
            continue
        assert response.status_code == 405, method
        assert response.headers["Allow"] == allow, method
        if method != "HEAD":
            message = f"this path takes {allow}, not {method}"
            told = {"error": message, "error_type": "method_not_allowed"}
            assert response.json() == told or (path in OTHER_PROTOCOLS and message in response.text)


@pytest.mark.parametrize("path", READ)
def test_head_is_get_without_a_body(client: TestClient, path: str) -> None:
    """The same status and headers, the length of the body that a GET would have, and no body."""
    got, head = client.get(path, headers=ADMIN), client.head(path, headers=ADMIN)
    assert got.status_code in (200, 307)
    assert head.status_code == got.status_code
    assert head.content == b""
    changing = {"x-request-id", "content-length"} if path == "/metrics" else {"x-request-id"}
    ours, theirs = (
        {name: value for name, value in response.headers.items() if name not in changing} for response in (head, got)
    )
    assert ours == theirs
    assert "content-length" in head.headers


def test_head_is_refused_as_get_is(client: TestClient) -> None:
    """401 without a key, 404 for what is not there, 405 where there is no GET."""
    assert client.head("/admin/v1/tasks").status_code == 401
    assert client.head("/v1/tasks/nothing").status_code == 404
    assert client.head("/nothing").status_code == 404
    assert client.head("/v1/t/predict").status_code == 405


def test_a_head_is_followed_by_the_next_answer(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """On a real connection no byte of a body comes after the head, so that the next answer is read as such."""
    with listening(tiny, tmp_path) as server:
        lines = b"".join(b"HEAD %b HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in (b"/docs", b"/v2", b"/metrics"))
        answers = _answers(server, lines + b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    heads = answers.split(b"HTTP/1.1 ")[1:]
    assert [head[:3] for head in heads] == [b"200"] * 4
    assert all(head.endswith(b"\r\n\r\n") for head in heads[:3])
    assert heads[3].endswith(b'{"status":"ok"}')


def _answers(server: Listening, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))
