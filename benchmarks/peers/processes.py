"""A peer as a process with all that it starts: begin, wait until it answers, weigh, end."""

import http.client
import json
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.peers.contestant import Running

HOST = "127.0.0.1"
START_S = 300.0
STOP_S = 30.0


class PeerFailed(Exception):
    """A peer did not start; the message ends with what it printed."""


@contextmanager
def peer_process(
    command: Callable[[int], list[str]], environment: Callable[[int], dict[str, str]], folder: Path, probe: bytes
) -> Iterator[Running]:
    """`command` for a free port, run in `folder`, once it answers `probe` with 200."""
    port = free_port()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command(port), cwd=folder, env=environment(port), stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait(process, port, probe)
            yield Running(port, process.pid)
        except PeerFailed as error:
            log.seek(0)
            raise PeerFailed(f"{error}\n{log.read()[-4000:].decode(errors='replace')}") from None
        finally:
            stop(process)


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def ask(port: int, request: bytes, timeout_s: float = 60) -> tuple[int, Any]:
    """Status and decoded body of one request on a connection of its own."""
    with socket.create_connection((HOST, port), timeout=timeout_s) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection, method="POST")
        response.begin()
        body = response.read()
    return response.status, json.loads(body) if response.status == http.client.OK else body


def memory_bytes(pid: int) -> int:
    """Proportional set size of the process and all below it: pages that they share count once."""
    total = 0
    for process in _tree(pid):
        with suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total


def cpu_s(pid: int) -> float:
    """Seconds of CPU that the process and all below it have used."""
    total = 0.0
    for process in _tree(pid):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End the process and its children with SIGTERM, and after a while with SIGKILL."""
    below = _tree(process.pid)
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    for one in below:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()
    psutil.wait_procs(below, timeout=STOP_S)


def _tree(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def _wait(process: "subprocess.Popen[bytes]", port: int, probe: bytes) -> None:
    deadline = time.monotonic() + START_S
    found: object = "no answer"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise PeerFailed(f"it ended with {process.returncode}")
        try:
            status, found = ask(port, probe)
            if status == http.client.OK:
                return
        except (OSError, http.client.HTTPException) as error:
            found = error
        time.sleep(0.2)
    raise PeerFailed(f"not ready after {START_S:.0f} s: {found!r}")
