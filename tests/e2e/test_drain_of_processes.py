"""Start and end of a server with several HTTP processes that share its ports."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest

from adapters.backbone.source import LoadedBackbone
from tests.support.process_tree import connected_to_each, port_of, publish, runs, wait_until
from tests.support.processes import START_S, server_process
from tests.support.raw_client import REQUEST, Client

COMMAND = (sys.executable, "-m", "benchmarks.serving.instant_engine")
READY = b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n"
NUM_CLIENTS = 8
DRAIN_S = 2.0


def ask_until_refused(port: int, answers: list[int | str]) -> None:
    """Ask on one new connection after the other, until the server takes no more."""
    while True:
        try:
            client = Client(port)
        except (ConnectionError, TimeoutError):
            return
        try:
            answers.append(client.ask(REQUEST).status)
        except (OSError, IndexError) as error:
            answers.append(repr(error))
        finally:
            client.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_drain_under_load_loses_nothing(
    number: signal.Signals, tmp_path: Path, tiny_folder: Path, tiny: LoadedBackbone
) -> None:
    """Every connection that is made gets its answer; readiness is 503 on each process; metrics last to the end."""
    publish(f"sqlite:///{tmp_path / 'registry.sqlite3'}", tiny.identity, {"t": 1})
    command = "env", "INSTANT_ENGINE_MS=20", *COMMAND
    settings = {"http_workers": "2", "admin_port": "0", "drain_s": f"{DRAIN_S:g}", "backbone": str(tiny_folder)}
    settings["publish_shipped_adapters"] = "false"
    with server_process(tmp_path, command=command, **settings) as server:
        family = psutil.Process(server.process.pid).children(recursive=True)
        answers: list[int | str] = []
        asking = [
            threading.Thread(target=ask_until_refused, args=(port_of(server), answers)) for _ in range(NUM_CLIENTS)
        ]
        with connected_to_each(server, 2) as by_process:
            for thread in asking:
                thread.start()
            wait_until(lambda: len(answers) > 50)
            server.process.send_signal(number)
            for process in family:  # as a terminal and `timeout` do
                process.send_signal(number)
            if number == signal.SIGTERM:  # after Ctrl-C there is no wait in which a proxy could ask
                wait_until(lambda: "draining: not ready" in server.log)
                time.sleep(0.2)  # for the message to reach both processes
                for clients in by_process.values():
                    answer = clients[0].ask(READY)
                    assert (answer.status, b'"draining"' in answer.body) == (503, True)
                assert "\nadakron_draining 1.0" in httpx.get(f"{server.admin_url}/metrics", timeout=30).text
        assert server.process.wait(60) == 0
        for thread in asking:
            thread.join()
    assert set(answers) == {200}
    assert "Traceback" not in server.log
    wait_until(lambda: not any(map(runs, family)))
    for line in ("starts (process", "admin key:", "loading ", "draining: not ready"):
        assert server.log.count(line) == 1, line


def test_a_server_that_answers_drains_although_it_still_starts(tmp_path: Path, tiny_folder: Path) -> None:
    """SIGTERM while one HTTP process answers and another does not listen yet: no connection is cut, status 0."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    given = {"data_dir": tmp_path, "backbone": tiny_folder, "http_workers": 2, "port": port, "drain_s": DRAIN_S}
    given["publish_shipped_adapters"] = "false"
    environment = os.environ | {f"ADAKRON_{key.upper()}": str(value) for key, value in given.items()}
    with (
        (tmp_path / "log").open("w+b") as log,
        subprocess.Popen([*COMMAND, "serve"], env=environment, stderr=log, stdout=log) as server,
    ):
        starting: list[psutil.Process] = []
        try:

            def find() -> bool:
                family = psutil.Process(server.pid).children(recursive=True)
                starting[:] = [process for process in family if process.name() == "adakron-http"]
                return bool(starting)

            wait_until(find, START_S)
            starting[0].suspend()
            wait_until(lambda: _is_answered(port), START_S)
            client = Client(port)
            server.terminate()
            wait_until(lambda: "draining: not ready" in (tmp_path / "log").read_text() or server.poll() is not None)
            assert client.ask(READY).status == 503
            client.close()
            starting[0].resume()
            assert server.wait(60) == 0
        finally:
            server.kill()
            for process in starting:
                if runs(process):
                    process.kill()


def _is_answered(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=30).status_code == 200
    except httpx.ConnectError:
        return False


def test_two_servers_that_start_at_once_do_not_share_a_port(tmp_path: Path, tiny_folder: Path) -> None:
    """One of them serves, on every address and under its root path; the other one ends with a line that says why."""
    with socket.socket() as found:
        found.bind(("0.0.0.0", 0))
        port = found.getsockname()[1]
    started = []
    for name in "ab":
        folder = tmp_path / name
        folder.mkdir()
        given = {"data_dir": folder, "backbone": tiny_folder, "http_workers": 2, "host": "::", "root_path": "/nlp"}
        given |= {"port": port, "publish_shipped_adapters": "false"}
        environment = os.environ | {f"ADAKRON_{key.upper()}": str(value) for key, value in given.items()}
        with (folder / "log").open("wb") as log:
            started.append(subprocess.Popen([*COMMAND, "serve"], env=environment, stderr=log, stdout=log))
    try:
        wait_until(lambda: any(process.poll() is not None for process in started), START_S)
        (loser,) = (index for index, process in enumerate(started) if process.poll() is not None)
        assert started[loser].returncode == 2
        said = (tmp_path / "ab"[loser] / "log").read_text().splitlines()[-1]
        assert said.startswith("error: ADAKRON_PORT: cannot listen on ")
        assert str(port) in said
        log = tmp_path / "ab"[1 - loser] / "log"
        wait_until(lambda: "Uvicorn running on" in log.read_text(), START_S)
        for host in ("127.0.0.1", "[::1]") if socket.has_dualstack_ipv6() else ("127.0.0.1",):
            for prefix in ("/nlp", ""):
                answer = httpx.get(f"http://{host}:{port}{prefix}/health/ready", timeout=30)
                assert answer.status_code == 200, (host, prefix)
        third = subprocess.run([*COMMAND, "serve"], env=environment, stderr=subprocess.PIPE, text=True)
        assert (third.returncode, "Traceback" in third.stderr) == (2, False)
        assert f":{port}" in third.stderr.splitlines()[-1]
    finally:
        for process in started:
            process.terminate()
            process.wait(60)
