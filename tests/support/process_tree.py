"""The processes of a running server, and connections to each of its HTTP processes."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from adapters.config import BackboneIdentity
from service.dispatch.load_page import LoadPage
from service.engine_process.places import page_in
from service.publishing.checks import check_upload
from service.registry import Registry
from service.scheduling.admission import AdmissionState
from tests.support.factories import make_adapter_bytes
from tests.support.processes import Server
from tests.support.raw_client import Client

WAIT_S = 60  # for a process to start, on a busy machine


def port_of(server: Server) -> int:
    """The public port."""
    return _port(server.url)


def admin_port_of(server: Server) -> int:
    """The admin port; the public one if the server has no other."""
    return _port(server.admin_url)


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def processes(server: Server, kind: str) -> list[psutil.Process]:
    """The running processes of a kind: http, engine or checker."""
    found = []
    for process in psutil.Process(server.process.pid).children(recursive=True):
        try:
            if process.name() == f"adakron-{kind}" and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def fork_server(server: Server) -> psutil.Process:
    """The process that the others come from."""
    (found,) = (
        child
        for child in psutil.Process(server.process.pid).children()
        if any("multiprocessing.forkserver" in argument for argument in child.cmdline())
    )
    return found


def load(server: Server) -> AdmissionState:
    """The permits that are held, as the engine process shows them to the HTTP processes."""
    (place,) = {
        each.laddr for each in processes(server, "engine")[0].net_connections("unix") if each.laddr.endswith("/engine")
    }
    page = LoadPage.attach(page_in(Path(place).parent))
    while (found := page.read()) is None:  # it meets a write
        continue
    page.close()
    return found.admission


def wait_until(condition: Callable[[], bool], at_most_s: float = WAIT_S) -> float:
    """Wait, fail after `at_most_s`, and return the seconds that it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < at_most_s, "it does not come about"
        time.sleep(0.02)
    return time.monotonic() - started


def owners(server: Server, clients: Sequence[Client]) -> list[int]:
    """The HTTP process that has accepted each connection; 0 while none has."""
    found: dict[tuple[int, int], int] = {}  # by the ports of client and server
    for process in processes(server, "http"):
        try:
            connections = process.net_connections("tcp")
        except psutil.NoSuchProcess:
            continue
        found |= {(each.raddr.port, each.laddr.port): process.pid for each in connections if each.raddr}
    return [found.get((client.connection.getsockname()[1], client.port), 0) for client in clients]


@contextmanager
def connected_to_each(
    server: Server, number: int, *, each: int = 1, port: int | None = None
) -> Iterator[dict[int, list[Client]]]:
    """Yield by process at least `each` fresh connections to every one of `number` HTTP processes.

    `port` is the public one by default.
    """
    port = port or port_of(server)
    clients: list[Client] = []
    with ExitStack() as stack:
        deadline = time.monotonic() + WAIT_S
        while True:
            for _ in range(number * each):
                clients.append(Client(port))
                stack.callback(clients[-1].close)
            wait_until(lambda: all(owners(server, clients)))
            by_process: dict[int, list[Client]] = {}
            for client, pid in zip(clients, owners(server, clients), strict=True):
                by_process.setdefault(pid, []).append(client)
            if len(by_process) == number and min(map(len, by_process.values())) >= each:
                break
            assert time.monotonic() < deadline, {pid: len(found) for pid, found in by_process.items()}
        yield by_process


def publish(url: str, identity: BackboneIdentity, tasks: dict[str, int]) -> None:
    """Publish so many versions of each task in the registry at `url`, before a server starts with it."""
    registry = Registry.open(url)
    for task, number in tasks.items():
        for seed in range(number):
            registry.publish(task, check_upload(make_adapter_bytes(identity=identity, seed=seed)))
    registry.close()


def runs(process: psutil.Process) -> bool:
    """Whether the process runs, and is not merely an entry that init has not removed yet."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
