"""Processor time of HTTP a request: servers whose engine answers at once, beside servers that do nothing but HTTP.

One text a request, 64 tasks, 64 clients that keep their connections, over loopback from a process of its own. The cost
is the processor time of the processes that hold the clients' connections, by request answered; the time of further
processes, such as a core behind several front ends, is shown apart. Servers are asked in turns, and the table has
medians over the rounds. The rows `refused` ask a server whose queue is full: each request is answered 429.

    ADAKRON_GLUE_DIR=... python -m benchmarks.serving.http_cost [--seconds 5] [--rounds 7] [--front-ends 2]
        [--forward-ms 5] [--tree FOLDER]

`--front-ends` adds a server with so many processes for HTTP, `--forward-ms` one whose engine takes that time for each
batch, and `--tree` the servers of another checkout of this project, to compare two versions.
Writes benchmarks/results/http_cost.json.
"""

import argparse
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from adapters.backbone.source import load_backbone
from benchmarks.report import Target, report
from benchmarks.sentences import single_texts
from benchmarks.serving.instant_engine import FORWARD_MS
from benchmarks.serving.load import closed_loop, predict_request
from benchmarks.serving.server import HOST, publish_random, task_name
from service.settings import Settings
from tests.support.processes import server_process

NUM_TASKS, CLIENTS = 64, 64
REFUSED = 429
TARGET_US = 350
ROOT = Path(__file__).parents[2]
_WORKERS = "http_workers"  # the setting for the number of front ends
_FULL = {"max_queued_requests": "2", "request_timeout_s": "600", "max_request_timeout_s": "600"}  # refuses every client
_HANGS_MS = 600_000.0


@dataclass(frozen=True)
class Contestant:
    """One server. Its requests are answered with `status`."""

    name: str
    process: psutil.Process
    port: int
    status: int = 200

    def measure(
        self, requests: Sequence[bytes], seconds: float, clients: int = CLIENTS
    ) -> tuple[float, float, float, float]:
        """Return requests/s, p50 in ms, and us of processor time a request: of HTTP, and of all other processes."""
        processes = [self.process, *self.process.children(recursive=True)]
        load = closed_loop(HOST, self.port, requests, clients, seconds)
        is_http = np.array([self._holds_clients(process) for process in processes])
        before = _cpu_s(processes)
        answered = load.results().of(self.status)
        used_us = 1e6 * (_cpu_s(processes) - before) / len(answered)
        http_us, other_us = used_us[is_http].sum(), used_us[~is_http].sum()
        return len(answered) / seconds, answered.percentile_ms(50), float(http_us), float(other_us)

    def _holds_clients(self, process: psutil.Process) -> bool:
        return any(
            found.status == psutil.CONN_ESTABLISHED and found.laddr.port == self.port
            for found in process.net_connections("tcp")
        )


def _cpu_s(processes: Sequence[psutil.Process]) -> np.ndarray:
    times = [process.cpu_times() for process in processes]
    return np.array([used.user + used.system for used in times])


@contextmanager
def floor(name: str) -> Iterator[Contestant]:
    """Start a server of http_floor.py."""
    command = [sys.executable, "-m", "benchmarks.serving.http_floor", name]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield Contestant(f"floor: {name}", psutil.Process(process.pid), int(process.stdout.readline()))
        finally:
            process.kill()


@contextmanager
def service(
    name: str, registry: Path, tree: Path, forward_ms: float = 0, status: int = 200, **settings: str
) -> Iterator[Contestant]:
    """Start the service of the checkout `tree` on a copy of `registry`; its engine answers after `forward_ms`."""
    launcher = Path(__file__).with_name("instant_engine.py")
    command = ["env", f"PYTHONPATH={tree}", f"{FORWARD_MS}={forward_ms}", sys.executable, "-P", str(launcher)]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(registry, folder)
        settings = {"publish_shipped_adapters": "false", "warmup": "false", **settings}
        with server_process(Path(folder), command=command, **settings) as server:
            port = int(server.url.rsplit(":", 1)[1])
            yield Contestant(name, psutil.Process(server.process.pid), port, status)


@contextmanager
def full_service(name: str, registry: Path, tree: Path, **settings: str) -> Iterator[Contestant]:
    """Start a service that refuses every client: its engine hangs, and two requests fill its queue."""
    filling = predict_request(task_name(0), "a film")
    with (
        service(name, registry, tree, _HANGS_MS, REFUSED, **{**_FULL, **settings}) as server,
        socket.create_connection((HOST, server.port)) as first,
        socket.create_connection((HOST, server.port)) as second,
    ):
        for client in (first, second):
            client.sendall(filling)
        yield server


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--front-ends", type=int, default=2 if _WORKERS in Settings.model_fields else 1)
    parser.add_argument("--forward-ms", type=float, default=5)
    parser.add_argument("--tree", type=Path)
    given = parser.parse_args()
    if given.front_ends > 1 and _WORKERS not in Settings.model_fields:
        parser.error("this version has one process for HTTP")
    texts, ms = single_texts(1280), given.forward_ms
    requests = [predict_request(task_name(number % NUM_TASKS), text) for number, text in enumerate(texts)]
    with ExitStack() as stack:
        registry = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "registry.sqlite3"
        publish_random(f"sqlite:///{registry}", load_backbone().identity, NUM_TASKS)
        servers = [stack.enter_context(floor(name)) for name in ("protocol", "uvicorn")]
        for tree in filter(None, (ROOT, given.tree)):
            of = "" if tree == ROOT else f" ({tree.name})"
            one = {_WORKERS: "1"} if _WORKERS in Settings.model_fields and tree == ROOT else {}
            servers += [
                stack.enter_context(service(f"engine at once{of}", registry, tree, **one)),
                stack.enter_context(service(f"engine {ms:g} ms{of}", registry, tree, ms, **one)),
                stack.enter_context(full_service(f"refused{of}", registry, tree, **one)),
            ]
        if given.front_ends > 1:
            more = {_WORKERS: str(given.front_ends)}
            servers.append(stack.enter_context(service(f"{given.front_ends} front ends", registry, ROOT, **more)))
        for server in servers:
            server.measure(requests, 1)
        found: dict[str, list[tuple[float, float, float, float]]] = {server.name: [] for server in servers}
        for number in range(given.rounds):
            for server in servers[number % len(servers) :] + servers[: number % len(servers)]:
                found[server.name].append(server.measure(requests, given.seconds))
    values = {name: np.array(rounds) for name, rounds in found.items()}  # [rounds, 4]
    best = values["floor: uvicorn"]
    rows: list[dict[str, object]] = [
        {
            "server": name,
            "requests/s": float(np.median(rounds[:, 0])),
            "p50 ms": float(np.median(rounds[:, 1])),
            "HTTP us/request": float(np.median(rounds[:, 2])),
            "over uvicorn": float(np.median(rounds[:, 2] / best[:, 2])),
            "other processes us/request": float(np.median(rounds[:, 3])),
        }
        for name, rounds in values.items()
    ]
    once = values["engine at once"]
    targets = [Target("processor time of HTTP a request, us", float(np.median(once[:, 2])), "at most", TARGET_US)]
    if given.front_ends > 1:
        gain = float(np.median(values[f"{given.front_ends} front ends"][:, 0] / once[:, 0]))
        targets.append(Target(f"{given.front_ends} front ends over one, requests/s", gain, "at least", 1.7))
    about = {"tasks": NUM_TASKS, "clients": CLIENTS, "seconds": given.seconds, "rounds": given.rounds}
    report("http_cost", about, rows, targets)


if __name__ == "__main__":
    main()
