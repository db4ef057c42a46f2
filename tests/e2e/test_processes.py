"""A server with several processes, of which one is killed or stopped: what goes on, and what ends."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from adapters.backbone.source import LoadedBackbone
from tests.support.process_tree import (
    connected_to_each,
    fork_server,
    load,
    port_of,
    processes,
    publish,
    runs,
    wait_until,
)
from tests.support.processes import Server, server_process
from tests.support.raw_client import REQUEST, Client

NUM_HTTP = 3
FORWARD_MS = 700
END_S = 30  # "seconds", on a busy machine


@contextmanager
def serving(folder: Path, tiny_folder: Path, tiny: LoadedBackbone, **settings: str) -> Iterator[Server]:
    """A server with an engine that needs FORWARD_MS a batch, and two versions of the task `t`."""
    publish(f"sqlite:///{folder / 'registry.sqlite3'}", tiny.identity, {"t": 2})
    command = "env", f"INSTANT_ENGINE_MS={FORWARD_MS}", sys.executable, "-m", "benchmarks.serving.instant_engine"
    given = {"backbone": str(tiny_folder), "publish_shipped_adapters": "false", "max_predicted_latency_s": "60"}
    with server_process(folder, command=command, **given, **settings) as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path, tiny: LoadedBackbone) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), tiny_folder, tiny, http_workers=str(NUM_HTTP)) as server:
        yield server


def answer_of(client: Client) -> int | None:
    """The status of the answer to the request that was sent; None if the connection has ended."""
    try:
        return client.read().status
    except (ConnectionError, IndexError):
        return None


def test_a_killed_http_process_takes_only_its_own_connections(server: Server) -> None:
    """All other requests in flight are answered 200; it is replaced, each of three times; its permits come back."""
    for _ in range(3):
        with connected_to_each(server, NUM_HTTP, each=2) as by_process:
            for clients in by_process.values():
                for client in clients:
                    client.send(REQUEST)
            killed = next(iter(by_process))
            wait_until(lambda: load(server).num_requests == sum(map(len, by_process.values())), 5)
            os.kill(killed, signal.SIGKILL)
            for pid, clients in by_process.items():
                assert {answer_of(client) for client in clients} == ({None} if pid == killed else {200})
        wait_until(lambda: load(server).num_requests == load(server).num_tokens == 0, 5)
        with connected_to_each(server, NUM_HTTP) as by_process:
            assert killed not in by_process
            for clients in by_process.values():
                assert clients[0].ask(REQUEST).status == 200
        assert f"HTTP process {killed} ended (SIGKILL)" in server.log


def test_connections_of_a_dead_process_wait_for_the_next(server: Server) -> None:
    """Clients that connect while a process is replaced are answered, not refused."""
    (killed, *_) = processes(server, "http")
    killed.kill()
    clients = [Client(port_of(server)) for _ in range(20)]
    for client in clients:
        client.send(REQUEST)
    wait_until(lambda: len(processes(server, "http")) == NUM_HTTP)
    assert [answer_of(client) for client in clients] == [200] * len(clients)
    for client in clients:
        client.close()


def test_a_change_does_not_wait_for_a_stopped_process(server: Server) -> None:
    """It is answered within 2 s, the process that does not follow is ended, and nothing answers by the old state."""
    with connected_to_each(server, NUM_HTTP, each=2) as by_process:
        stopped, other = list(by_process)[:2]
        client = by_process[other][0]
        old = client.ask(REQUEST).body
        assert b'"version":2' in old
        late = by_process[stopped][0]
        os.kill(stopped, signal.SIGSTOP)
        late.send(REQUEST)
        url = f"{server.url}/admin/v1/tasks/t/aliases/live"
        body = b'{"version": 1}'
        head = f"PUT {url} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.key}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        head = head.replace(server.url, "")
        answers = []
        took = wait_until(lambda: bool(answers) or bool(answers.append(client.ask(head.encode() + body)) or answers))
        assert answers[0].status == 200, answers[0].body
        assert took < 2
        assert answer_of(late) is None
        wait_until(lambda: not psutil.pid_exists(stopped) or not runs(psutil.Process(stopped)))
    assert f"HTTP process {stopped} did not follow" in server.log
    with connected_to_each(server, NUM_HTTP) as by_process:
        for clients in by_process.values():
            assert b'"version":1' in clients[0].ask(REQUEST).body


def test_a_hanging_process_is_replaced(server: Server) -> None:
    """A process that gives no sign of life for 15 s is killed; what waits at its socket is answered by the next."""
    (hanging, *_) = processes(server, "http")
    hanging.suspend()
    wait_until(lambda: not runs(hanging))
    assert f"HTTP process {hanging.pid} hangs: no sign of life for 15 s" in server.log
    with connected_to_each(server, NUM_HTTP) as by_process:
        assert hanging.pid not in by_process


def test_a_hanging_engine_is_named_until_it_goes_on(server: Server) -> None:
    """Readiness is 503 within 6 s with the cause, changes name it, too, and both recover when the process goes on."""
    (engine,) = processes(server, "engine")
    ready, url = f"{server.url}/health/ready", f"{server.url}/admin/v1/tasks/t/aliases/live"
    assert "cause" not in httpx.get(ready).json()
    engine.suspend()
    try:
        wait_until(lambda: httpx.get(ready).status_code == 503, END_S)
        answer = httpx.get(ready).json()
        assert answer["status"] == "engine_hangs"
        assert "the engine process has given no sign of life for" in answer["cause"]
        assert httpx.get(f"{server.url}/v2/health/ready").status_code == 503
        assert httpx.get(f"{server.url}/health/live").status_code == 200
        refused = httpx.put(url, json={"version": 2}, headers=server.headers, timeout=30)
        assert (refused.status_code, refused.json()["error_type"]) == (503, "engine_hangs"), refused.text
    finally:
        engine.resume()
    wait_until(lambda: httpx.get(ready).status_code == 200, END_S)
    assert httpx.put(url, json={"version": 2}, headers=server.headers, timeout=30).status_code == 200


def test_uploads_go_on_after_the_checker_was_killed(server: Server) -> None:
    """It is replaced with the next upload; predictions do not notice."""
    for checker in processes(server, "checker"):
        checker.kill()
    assert httpx.post(f"{server.url}/v1/t/predict", json={"inputs": "a"}, timeout=30).status_code == 200
    headers = server.headers | {"Content-Type": "application/octet-stream"}
    url = f"{server.url}/admin/v1/tasks/other/versions"
    refused = httpx.post(url, content=b"no adapter", headers=headers, timeout=120)
    assert (refused.status_code, refused.json()["error_type"]) == (422, "upload_refused")


@pytest.mark.parametrize("killed", ["engine", "fork server", "supervisor"])
def test_the_server_ends_as_a_whole(killed: str, tmp_path: Path, tiny_folder: Path, tiny: LoadedBackbone) -> None:
    """Without its engine, its fork server or its supervisor it ends with status 2 within seconds.

    Requests in flight get 503 or a closed connection. No process is left.
    """
    with serving(tmp_path, tiny_folder, tiny, http_workers="2") as server:
        victims = {
            "engine": lambda: processes(server, "engine")[0],
            "fork server": lambda: fork_server(server),
            "supervisor": lambda: psutil.Process(server.process.pid),
        }
        wait_until(lambda: bool(processes(server, "checker")), END_S)  # one that is starting would log a traceback
        family = psutil.Process(server.process.pid).children(recursive=True)
        with connected_to_each(server, 2) as by_process:
            clients = [client for group in by_process.values() for client in group]
            for client in clients:
                client.send(REQUEST)
            victims[killed]().kill()
            answers = [answer_of(client) for client in clients]
        status = server.process.wait(END_S)
        wait_until(lambda: not any(map(runs, family)), END_S)
    assert status == (-signal.SIGKILL if killed == "supervisor" else 2)
    assert set(answers) <= ({None, 503} if killed == "engine" else {None, 503, 200})
    assert "Traceback" not in server.log
    causes = {"engine": "the engine process has ended (SIGKILL)", "fork server": "the fork server has ended (SIGKILL)"}
    for process, cause in causes.items():
        assert (cause in server.log) == (killed == process)
