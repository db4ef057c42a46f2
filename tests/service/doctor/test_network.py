"""`adakron doctor`: ports, a running server, and the clock; each check with and without a fault."""

import errno
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from service.doctor import network
from service.doctor.network import clock, ports, server
from tests.support.doctors import make_setup

pytestmark = pytest.mark.usefixtures("clean_environment")
CLOSED = "http://127.0.0.1:9"  # the discard port: nothing listens there


@contextmanager
def taken() -> Iterator[int]:
    """Yield a port on which something listens that never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def answering(monkeypatch: pytest.MonkeyPatch, **answers: httpx.Response) -> None:
    """Make every server answer so, by the last part of the path."""

    def get(self: object, path: str) -> httpx.Response:
        return answers[path.rpartition("/")[2].partition(".")[0]]

    monkeypatch.setattr("httpx.Client.get", get)


class Answers(BaseHTTPRequestHandler):
    """The answers of a server of this release (tests/e2e uses a real one)."""

    def do_GET(self) -> None:
        bodies = {
            "/health/live": {"status": "ok"},
            "/health/ready": {"status": "ok"},
            "/openapi.json": {"info": {"version": version("adakron-serve")}},
        }
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(bodies[self.path]).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def test_a_server_that_runs(tmp_path: Path) -> None:
    """A running server is ready and of this release, and its port is reported as its own."""
    running = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    try:
        setup = make_setup(tmp_path, port=running.server_port)
        assert server(setup).status == "ok"
        assert server(setup).message.startswith(f"http://127.0.0.1:{running.server_port} is ok, release ")
        assert ports(setup).message == f"127.0.0.1:{running.server_port} is taken by an AdaKron server"
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


def test_no_server(tmp_path: Path) -> None:
    """A server at the settings' address need not run; one named by --url must."""
    assert server(make_setup(tmp_path, port=9)).message == f"none runs at {CLOSED}"
    found = server(make_setup(tmp_path, url=CLOSED))
    assert found.status == "failed"
    assert found.message.startswith(f"no answer from {CLOSED}: ")


def test_a_server_of_another_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is not from an AdaKron server fails."""
    page = httpx.Response(200, text="<html>")
    answering(monkeypatch, ready=page, openapi=page)
    assert server(make_setup(tmp_path)).message == "http://127.0.0.1:8000 is not an AdaKron server"
    answering(monkeypatch, ready=httpx.Response(200, json=[1]), openapi=page)
    assert server(make_setup(tmp_path)).status == "failed"


def test_a_server_that_ends_is_old_and_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is not ready, of another release, or with another clock is a warning."""
    ready = httpx.Response(503, json={"status": "draining"}, headers={"Date": "Thu, 26 Nov 2020 22:34:49 GMT"})
    answering(monkeypatch, ready=ready, openapi=httpx.Response(200, json={"info": {"version": "0.0.1"}}))
    found = server(make_setup(tmp_path))
    assert found.status == "warning"
    for part in (
        "is draining, release 0.0.1",
        "is shutting down",
        "the server has 0.0.1",
        "its clock and this one differ",
    ):
        assert part in found.message, part


def test_ports(tmp_path: Path) -> None:
    """Free ports are ok; a port taken by another program fails, also the admin port."""
    assert ports(make_setup(tmp_path, port=0)).status == "ok"
    with taken() as port, pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "TIMEOUT_S", 0.1)
        for settings in ({"port": port}, {"port": 0, "admin_port": port}):
            found = ports(make_setup(tmp_path, **settings))
            assert found.status == "failed"
            assert f"127.0.0.1:{port}: Address already in use" in found.message


@pytest.mark.parametrize(
    ("error", "says", "remedy"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "may not listen", "a port of 1024 or more"),
        (
            OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"),
            "Cannot assign",
            "an address of this machine",
        ),
    ],
)
def test_unusable_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, says: str, remedy: str
) -> None:
    """Each error of the system has its remedy."""

    class Socket(socket.socket):
        def bind(self, address: object) -> None:
            raise error

    monkeypatch.setattr("socket.socket", Socket)
    found = ports(make_setup(tmp_path))
    assert found.status == "failed"
    assert says in found.message
    assert remedy in found.remedy


def test_an_invalid_host(tmp_path: Path) -> None:
    """A host that is not an address fails."""
    assert ports(make_setup(tmp_path, host="999.1.1.1")).status == "failed"


def test_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock before the installation fails."""
    assert clock(make_setup(tmp_path)).status == "ok"
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    found = clock(make_setup(tmp_path))
    assert found.status == "failed"
    assert "1970-01-01" in found.message
