"""Two servers on one PostgreSQL: they follow each other, and serve on while it is dead, frozen or slow."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from adapters.backbone.source import LoadedBackbone
from tests.support.databases import SERVER, fresh_database
from tests.support.factories import make_adapter_bytes
from tests.support.processes import Server, server_process
from tests.support.tcp_proxy import TcpProxy, proxied

pytestmark = pytest.mark.alone

KEY = "the-key-of-both-replicas"
OUTAGES: dict[str, tuple[Callable[[TcpProxy], None], Callable[[TcpProxy], None]]] = {
    "dead": (TcpProxy.kill, TcpProxy.revive),
    "frozen": (TcpProxy.freeze, TcpProxy.thaw),
    "slow": (lambda proxy: setattr(proxy, "delay_s", 0.5), lambda proxy: setattr(proxy, "delay_s", 0.0)),
}


@dataclass(frozen=True)
class Replicas:
    direct: Server
    through: Server  # reaches the database through the proxy
    proxy: TcpProxy


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Replicas]:
    folders = [tmp_path_factory.mktemp(name) for name in ("direct", "through")]
    settings = {
        "backbone": str(tiny_folder),
        "admin_key": KEY,
        "publish_shipped_adapters": "false",
        "engine_threads": "1",
    }
    host, port = SERVER.split(":")
    with (
        fresh_database("postgresql", folders[0]) as url,
        proxied((host, int(port))) as proxy,
        server_process(folders[0], registry_url=url, **settings) as direct,
        server_process(folders[1], registry_url=url.replace(SERVER, f"127.0.0.1:{proxy.port}"), **settings) as through,
    ):
        yield Replicas(direct, through, proxy)


@pytest.fixture(scope="module")
def files(tiny: LoadedBackbone) -> Iterator[bytes]:
    return (make_adapter_bytes(identity=tiny.identity, seed=seed) for seed in range(1000))


def publish(server: Server, task: str, data: bytes) -> httpx.Response:
    headers = server.headers | {"Content-Type": "application/octet-stream"}
    return httpx.post(f"{server.url}/admin/v1/tasks/{task}/versions", content=data, headers=headers, timeout=10)


def answered_version(server: Server, task: str) -> int | None:
    response = httpx.post(f"{server.url}/v1/{task}/predict", json={"inputs": "a"}, timeout=10)
    return response.json()["version"] if response.status_code == 200 else None


def seconds_until(condition: Callable[[], bool], at_most: float) -> float:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < at_most
        time.sleep(0.01)
    return time.monotonic() - started


def test_a_change_arrives_within_a_second(replicas: Replicas, files: Iterator[bytes]) -> None:
    """A version published on one replica is live on the other in well under a second, ten times in a row."""
    for version in range(1, 11):
        assert publish(replicas.direct, "followed", next(files)).status_code == 201
        took = seconds_until(lambda: answered_version(replicas.through, "followed") == version, 5)  # noqa: B023
        assert took < 1


@pytest.mark.parametrize("outage", OUTAGES)
def test_an_outage_of_the_database(replicas: Replicas, files: Iterator[bytes], outage: str) -> None:
    """Predictions go on, admin calls answer 503 within 2 s, and 5 s after its end all is normal again."""
    begin, end = OUTAGES[outage]
    task = f"during-{outage}"
    for _ in range(2):
        assert publish(replicas.direct, task, next(files)).status_code == 201
    seconds_until(lambda: answered_version(replicas.through, task) == 2, 5)
    stop, answers = threading.Event(), list[tuple[int | None, float]]()

    def keep_asking() -> None:
        while not stop.is_set():
            started = time.monotonic()
            answers.append((answered_version(replicas.through, task), time.monotonic() - started))

    asking = threading.Thread(target=keep_asking)
    asking.start()
    begin(replicas.proxy)
    try:
        for call in admin_calls(replicas.through, task, next(files)):
            started = time.monotonic()
            response = call()
            assert time.monotonic() - started < 2, response.url
            assert (response.status_code, response.json()["error_type"]) == (503, "registry_unavailable")
        assert publish(replicas.direct, task, next(files)).status_code == 201
    finally:
        end(replicas.proxy)
    ended = time.monotonic()
    seconds_until(lambda: answered_version(replicas.through, task) == 3, 5)
    for call in admin_calls(replicas.through, task, next(files)):
        assert call().is_success
    assert time.monotonic() - ended < 5
    stop.set()
    asking.join()
    assert {version for version, _ in answers} <= {2, 3, 4}
    assert max(seconds for _, seconds in answers) < 1
    assert len(answers) > 10


def admin_calls(server: Server, task: str, data: bytes) -> list[Callable[[], httpx.Response]]:
    """One of each kind that needs the database."""
    base = f"{server.url}/admin/v1"
    options = {"headers": server.headers, "timeout": 10}
    return [
        lambda: httpx.get(f"{base}/audit", **options),
        lambda: httpx.put(f"{base}/tasks/{task}/aliases/canary", json={"version": 1}, **options),
        lambda: httpx.post(f"{base}/keys", json={"name": "x", "scopes": ["predict"]}, **options),
        lambda: httpx.get(f"{base}/tasks/{task}/versions/1/adapter", **options),
        lambda: publish(server, task, data),
        lambda: httpx.post(f"{base}/tasks/{task}/rollback", **options),
    ]
