"""Proxies of the environment never receive requests for this machine."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from service.client import AdaKronClient, AdaKronError, AsyncAdaKronClient, Retries
from service.client.connection import is_local
from service.doctor.network import ports, server
from tests.support.doctors import make_setup

pytestmark = pytest.mark.usefixtures("clean_environment")
LOCAL, REMOTE = "http://127.0.0.1:9", "http://adakron.example"  # nothing listens at either
KEY = "a-key-for-tests-only"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str | None]]]:
    """The URL and key of each request to the proxy, which answers as a server would."""
    seen: list[tuple[str, str | None]] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers.get("Authorization")))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"status": "ok", "tasks": []}).encode())

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{listening.server_port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    yield seen
    listening.shutdown()
    thread.join()
    listening.server_close()


def of_the_sync_client(url: str) -> Any:
    with AdaKronClient(url, KEY, retries=Retries(max_attempts=1)) as client:
        return client.tasks()


def of_the_async_client(url: str) -> Any:
    async def tasks() -> Any:
        async with AsyncAdaKronClient(url, KEY, retries=Retries(max_attempts=1)) as client:
            return await client.tasks()

    return asyncio.run(tasks())


@pytest.mark.parametrize("tasks", [of_the_sync_client, of_the_async_client])
def test_a_key_for_this_machine_stays_on_it(asked: list[tuple[str, str | None]], tasks: Callable[[str], Any]) -> None:
    """Clients send requests and keys for a local server directly, those for other servers through the proxy."""
    with pytest.raises(AdaKronError, match=f"no answer from {LOCAL}"):
        tasks(LOCAL)
    assert asked == []
    assert len(tasks(REMOTE)) == 0
    assert asked == [(f"{REMOTE}/v1/tasks", f"Bearer {KEY}")]


def test_the_doctor_asks_this_machine_itself(asked: list[tuple[str, str | None]], tmp_path: Path) -> None:
    """The doctor takes no answer of a proxy for one of the server or of another program on its port."""
    assert server(make_setup(tmp_path, port=9)).message == f"none runs at {LOCAL}"
    assert server(make_setup(tmp_path, url=LOCAL)).message.startswith(f"no answer from {LOCAL}: ")
    taken = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    thread = threading.Thread(target=taken.handle_request)
    thread.start()
    assert ports(make_setup(tmp_path, port=taken.server_port)).status == "failed"
    thread.join()
    taken.server_close()
    assert asked == []


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://127.8.0.1", True),
        ("http://LocalHost:8000/", True),
        ("https://[::1]:8000", True),
        ("http://127.0.0.1.example", False),
        ("http://localhost.example", False),
        ("http://127.0.0.1@example", False),
        ("http://10.0.0.1", False),
        ("127.0.0.1:8000", False),
        ("http://[::1", False),
    ],
)
def test_what_is_local(url: str, local: bool) -> None:
    """Every name of this machine is local, with any port; similar names are not."""
    assert is_local(url) is local
