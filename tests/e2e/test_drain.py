"""The end of a server: nothing that has reached it is lost."""

import asyncio
import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from adapters.backbone.source import LoadedBackbone
from tests.support.factories import make_adapter_bytes
from tests.support.http_proxy import http_proxy
from tests.support.processes import Server, server_process

BODY = b'{"inputs": "a good film"}'
HEAD = b"POST /v1/t/predict HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
REQUEST = HEAD % len(BODY) + BODY


@contextmanager
def serving(folder: Path, tiny_folder: Path, data: bytes, **settings: str) -> Iterator[Server]:
    """A server with the task `t`."""
    given = {"backbone": str(tiny_folder), "publish_shipped_adapters": "false", "engine_threads": "1", **settings}
    with server_process(folder, **given) as server:
        headers = server.headers | {"Content-Type": "application/octet-stream"}
        url = f"{server.url}/admin/v1/tasks/t/versions"
        assert httpx.post(url, content=data, headers=headers, timeout=60).is_success
        yield server


@pytest.fixture
def data(tiny: LoadedBackbone) -> bytes:
    return make_adapter_bytes(identity=tiny.identity)


def address(server: Server) -> tuple[str, int]:
    url = httpx.URL(server.url)
    assert url.port is not None
    return url.host, url.port


def read_answer(client: socket.socket) -> tuple[int, bool, bytes]:
    """Status, whether the connection ends, and body."""
    response = http.client.HTTPResponse(client)
    response.begin()
    return response.status, response.getheader("Connection", "") == "close", response.read()


def test_draining_is_told_and_requests_go_on(tmp_path: Path, tiny_folder: Path, data: bytes) -> None:
    """After SIGTERM the server is not ready, answers all the same, and ends each connection; a second one cuts them."""
    with serving(tmp_path, tiny_folder, data, drain_s="600") as server, httpx.Client(base_url=server.url) as client:
        assert "connection" not in client.get("/health/ready").headers
        server.process.terminate()
        while (ready := client.get("/health/ready")).status_code == 200:
            pass
        assert (ready.status_code, ready.json()["status"]) == (503, "draining")
        answer = client.post("/v1/t/predict", json={"inputs": "a good film"})
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        with socket.create_connection(address(server), 30) as waiting:
            waiting.sendall(REQUEST[:-5])
            server.process.terminate()
            assert server.process.wait(60) == -signal.SIGTERM
            with suppress(ConnectionResetError):
                assert waiting.recv(1) == b""


def test_what_has_reached_it_is_answered(tmp_path: Path, tiny_folder: Path, data: bytes) -> None:
    """Requests that lie unread when SIGTERM comes, on new and on kept connections, are answered before the end."""
    with serving(tmp_path, tiny_folder, data) as server:
        kept = [socket.create_connection(address(server), 30) for _ in range(10)]
        for client in kept:
            client.sendall(REQUEST)
            assert read_answer(client)[:2] == (200, False)
        os.kill(server.process.pid, signal.SIGSTOP)
        fresh = [socket.create_connection(address(server), 30) for _ in range(10)]
        for client in [*kept, *fresh]:
            client.sendall(REQUEST)
        server.process.terminate()
        os.kill(server.process.pid, signal.SIGCONT)
        assert [read_answer(client)[:2] for client in [*kept, *fresh]] == [(200, True)] * 20
        assert server.process.wait(60) == 0
        for client in [*kept, *fresh]:
            client.close()
        assert "Traceback" not in server.log


def test_clients_on_kept_connections_lose_nothing(tmp_path: Path, tiny_folder: Path, data: bytes) -> None:
    """Clients that ask without a pause, each on one connection, are told to go and have every answer until then."""
    ends: list[tuple[int, bool]] = []

    def ask_until_told_to_go(server: Server, started: threading.Barrier) -> None:
        with socket.create_connection(address(server), 30) as client:
            client.sendall(REQUEST)
            answer = read_answer(client)
            started.wait(30)
            while answer[:2] == (200, False):
                client.sendall(REQUEST)
                answer = read_answer(client)
            ends.append(answer[:2])

    with serving(tmp_path, tiny_folder, data, drain_s="1") as server:
        started = threading.Barrier(9)
        clients = [threading.Thread(target=ask_until_told_to_go, args=(server, started)) for _ in range(8)]
        for client in clients:
            client.start()
        started.wait(30)
        server.process.terminate()
        for client in clients:
            client.join(30)
        assert ends == [(200, True)] * 8
        assert server.process.wait(60) == 0


def test_a_request_that_takes_too_long_is_told(tmp_path: Path, tiny_folder: Path, data: bytes) -> None:
    """What is not answered when ADAKRON_SHUTDOWN_TIMEOUT_S is over gets 503 in the shape of every error."""
    with (
        serving(tmp_path, tiny_folder, data, shutdown_timeout_s="1") as server,
        socket.create_connection(address(server), 30) as client,
    ):
        client.sendall(REQUEST)
        assert read_answer(client)[0] == 200
        client.sendall(REQUEST[:-5])
        server.process.terminate()
        status, ends, body = read_answer(client)
        assert (status, ends, json.loads(body)["error_type"]) == (503, True, "shutting_down")
        assert server.process.wait(60) == 0
        assert "Traceback" not in server.log


async def test_rolling_restarts_lose_nothing(tmp_path: Path, tiny_folder: Path, data: bytes) -> None:
    """Two servers behind a proxy are restarted in turn under steady load: every request is answered 200."""
    answers: list[int | str] = []

    async def ask(client: httpx.AsyncClient) -> None:
        while True:
            try:
                answers.append((await client.post("/v1/t/predict", json={"inputs": "a good film"})).status_code)
            except httpx.HTTPError as error:
                answers.append(repr(error))
            await asyncio.sleep(0.05)

    folders = [tmp_path / name for name in ("one", "two")]
    ports = [_free_port() for _ in folders]
    async with AsyncExitStack() as stack:
        running = {}
        for folder, port in zip(folders, ports, strict=True):
            folder.mkdir()
            running[port] = stack.enter_context(serving(folder, tiny_folder, data, port=str(port), drain_s="0.5"))
        proxy, url = await stack.enter_async_context(http_proxy(ports))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30))
        await _until(lambda: all(upstream.ready for upstream in proxy.upstreams))
        asking = [asyncio.create_task(ask(client)) for _ in range(4)]
        for folder, port in zip(folders, ports, strict=True):
            upstream = next(upstream for upstream in proxy.upstreams if upstream.port == port)
            running[port].process.terminate()
            assert await asyncio.to_thread(running[port].process.wait, 60) == 0
            again = serving(folder, tiny_folder, data, port=str(port), drain_s="0.5")
            running[port] = await asyncio.to_thread(stack.enter_context, again)
            served = upstream.num_requests
            await _until(lambda: upstream.num_requests > served + 50)  # noqa: B023
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    assert set(answers) == {200}
    assert len(answers) > 200


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
