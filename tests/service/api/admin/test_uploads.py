"""Refusals of an upload while its body arrives; nothing of it is stored."""

import asyncio
import base64
import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from adapters.backbone.source import LoadedBackbone
from service.publishing.checker import Checker
from tests.support.factories import make_adapter_bytes
from tests.support.refused_files import refused_files
from tests.support.serving import ADMIN, KEY, UPLOAD, listening, predict, running, upload

URL = "/admin/v1/tasks/t/versions"


@pytest.fixture
def client(tiny: LoadedBackbone, tmp_path: Path) -> Iterator[TestClient]:
    with running(tiny, tmp_path, max_upload_bytes=100_000, body_timeout_s=1) as client:
        yield client


@pytest.fixture(scope="module")
def good(tiny: LoadedBackbone) -> bytes:
    return make_adapter_bytes(identity=tiny.identity)


def content_digest(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


def test_transport(client: TestClient, good: bytes) -> None:
    """Each way in which an upload can be sent wrongly has its status and its reason code."""
    cases = [
        (401, "key_missing", URL, good, {"Content-Type": "application/octet-stream"}),
        (401, "key_unknown", URL, good, UPLOAD | {"Authorization": "Bearer no-such-key-at-all"}),
        (422, "task_name", URL.replace("/t/", "/UPPER/"), good, UPLOAD),
        (415, "content_type", URL, good, ADMIN),
        (415, "content_type", URL, good, ADMIN | {"Content-Type": "application/json"}),
        (415, "content_encoding", URL, good, UPLOAD | {"Content-Encoding": "gzip"}),
        (413, "body_too_large", URL, bytes(100_001), UPLOAD),
        (413, "body_too_large", URL, iter([bytes(60_000)] * 2), UPLOAD),
        (422, "body_empty", URL, b"", UPLOAD),
        (422, "content_digest", URL, good, UPLOAD | {"Content-Digest": content_digest(good + b"x")}),
        (422, "content_digest_form", URL, good, UPLOAD | {"Content-Digest": "sha-256=:AAAA:"}),
        (422, "content_digest_form", URL, good, UPLOAD | {"Content-Digest": "md5=:AAAA:"}),
    ]
    for status, reason, url, content, headers in cases:
        response = client.post(url, content=content, headers=headers)
        assert (response.status_code, response.json().get("reason")) == (status, reason), reason
    assert client.get("/admin/v1/tasks", headers=ADMIN).json() == {"tasks": []}
    text = client.get("/metrics").text
    for _, reason, *_ in cases[2:]:
        assert f'adakron_uploads_total{{result="{reason}"}}' in text


def test_a_matching_digest_is_welcome(client: TestClient, good: bytes) -> None:
    """Content-Digest of the file, alone or among others, lets it pass."""
    for given in (content_digest(good), f"sha-512=:AAAA:, {content_digest(good)}"):
        assert client.post(URL, content=good, headers=UPLOAD | {"Content-Digest": given}).is_success


def test_every_refused_file_is_refused_over_http(client: TestClient, tiny: LoadedBackbone) -> None:
    """Each hand-made file gets its own reason code in the body of a 422; nothing is stored, and the server goes on."""
    upload(client, "other", make_adapter_bytes(identity=tiny.identity, seed=3))
    files = refused_files(tiny.identity)
    assert len(files) >= 90
    for name, file in files.items():
        data = file.make()
        if not data or len(data) > 100_000:  # which do not come as far as the check
            continue
        response = client.post(URL, content=data, headers=UPLOAD)
        assert (response.status_code, response.json().get("reason")) == (422, file.reason), name
        assert response.json()["error_type"] == "upload_refused"
    assert [task["task"] for task in client.get("/admin/v1/tasks", headers=ADMIN).json()["tasks"]] == ["other"]
    assert predict(client, "other", "a")


def test_an_adapter_larger_than_the_memory(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """A file that is good but could never be loaded here is refused, not published."""
    with running(tiny, tmp_path, adapter_memory_bytes=2**20) as client:
        data = make_adapter_bytes(identity=tiny.identity, p=1000, q=8)
        response = client.post(URL, content=data, headers=UPLOAD)
        assert (response.status_code, response.json()["reason"]) == (422, "over_memory")


def test_too_many_at_once(client: TestClient, good: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fifth upload at a time is 429 with Retry-After, before its body is read; afterwards there is room again."""
    entered, go_on = threading.Semaphore(0), threading.Event()
    check = Checker.check

    async def slow(checker: Checker, data: bytes) -> object:
        entered.release()
        await asyncio.to_thread(go_on.wait, 30)
        return await check(checker, data)

    monkeypatch.setattr(Checker, "check", slow)
    with ThreadPoolExecutor(4) as pool:
        pending = [pool.submit(client.post, URL, content=good, headers=UPLOAD) for _ in range(4)]
        for _ in pending:
            assert entered.acquire(timeout=30)
        refused = client.post(URL, content=good, headers=UPLOAD)
        go_on.set()
        assert {answer.result().status_code for answer in pending} <= {200, 201}
    assert (refused.status_code, refused.json()["reason"]) == (429, "too_many_uploads")
    assert refused.headers["Retry-After"] == "1"
    assert client.post(URL, content=good, headers=UPLOAD).status_code == 200


@pytest.mark.parametrize("how", ["slow", "cut"])
def test_bodies_that_do_not_come(tiny: LoadedBackbone, tmp_path: Path, good: bytes, how: str) -> None:
    """A body that comes too slowly is 408, one that is cut off is dropped; nothing is stored, and no permit is kept."""
    head = (
        f"POST {URL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(good)}\r\n\r\n"
    )
    with listening(tiny, tmp_path, body_timeout_s=0.5, max_uploads=1) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(head.encode() + good[:1000])
            if how == "slow":
                answer = client.recv(65536)
                assert answer.startswith(b"HTTP/1.1 408 ")
                assert b'"reason":"body_timeout"' in answer
        result = "body_timeout" if how == "slow" else "body_cut"
        expected = f'adakron_uploads_total{{result="{result}"}} 1.0'.encode()
        deadline = time.monotonic() + 10
        while expected not in server.request("GET", "/metrics")[1]:
            assert time.monotonic() < deadline
        headers = {"Authorization": f"Bearer {KEY}"}
        assert server.request("GET", "/admin/v1/tasks", headers) == (200, b'{"tasks":[]}')
        whole = headers | {"Content-Type": "application/octet-stream"}
        assert server.request("POST", URL, whole, good)[0] == 201


def test_unknown_names_make_no_series(client: TestClient, good: bytes) -> None:
    """A thousand task names that do not exist leave the metrics with the series that they had."""
    upload(client, "t", good)
    predict(client, "t", "a")
    assert client.post("/v1/none/predict", json={"inputs": "a"}).status_code == 404
    before = _series(client)
    for number in range(1000):
        client.post(f"/v1/none-{number}/predict", json={"inputs": "a"})
    assert _series(client) == before


def _series(client: TestClient) -> set[str]:
    lines = client.get("/metrics").text.splitlines()
    return {line.rpartition(" ")[0] for line in lines if line.startswith("adakron_")}
