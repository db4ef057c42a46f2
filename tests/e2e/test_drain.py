"""The end of a server process: draining, and a restart behind a proxy."""

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import psutil
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


def test_a_draining_server_answers(tmp_path: Path, tiny_folder: Path, data: bytes) -> None:
    """After SIGTERM the server is not ready but still answers, and ends each connection; a second SIGTERM cuts them."""
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


def test_a_signal_to_every_process_is_one_drain(tmp_path: Path, tiny_folder: Path, data: bytes) -> None:
    """`timeout` and terminals send signals to the whole group: the supervisor alone acts, and the end is a good one."""
    with serving(tmp_path, tiny_folder, data) as server:
        for process in [*psutil.Process(server.process.pid).children(recursive=True), server.process]:
            process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        assert "ended" not in server.log


async def test_rolling_restarts_lose_nothing(tmp_path: Path, tiny_folder: Path, data: bytes) -> None:
    """One of two servers behind a proxy is restarted under steady load: every request is answered 200."""
    answers: list[int | str] = []

    async def ask(client: httpx.AsyncClient) -> None:
        while True:
            try:
                answers.append((await client.post("/v1/t/predict", json={"inputs": "a good film"})).status_code)
            except httpx.HTTPError as error:
                answers.append(repr(error))
            await asyncio.sleep(0.05)

    ports = [_free_port() for _ in range(2)]

    def start(port: int) -> AbstractContextManager[Server]:
        folder = tmp_path / str(port)
        folder.mkdir(exist_ok=True)
        return serving(folder, tiny_folder, data, port=str(port), drain_s="0.5")

    async with AsyncExitStack() as stack:
        starts = [asyncio.to_thread(stack.enter_context, start(port)) for port in ports]
        restarted, _ = await asyncio.gather(*starts)
        proxy, url = await stack.enter_async_context(http_proxy(ports))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30))
        await _until(lambda: all(upstream.ready for upstream in proxy.upstreams))
        asking = [asyncio.create_task(ask(client)) for _ in range(4)]
        restarted.process.terminate()
        assert await asyncio.to_thread(restarted.process.wait, 60) == 0
        assert "Traceback" not in restarted.log
        await asyncio.to_thread(stack.enter_context, start(ports[0]))
        served = proxy.upstreams[0].num_requests
        await _until(lambda: proxy.upstreams[0].num_requests > served + 50)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    assert set(answers) == {200}
    assert len(answers) > 100


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
