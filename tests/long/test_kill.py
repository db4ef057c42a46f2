"""kill -9 during uploads, alias moves and rollbacks: acknowledged changes survive."""

import hashlib
import itertools
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import psutil
import pytest
import sqlalchemy

from adapters.backbone.source import LoadedBackbone
from adapters.config import BackboneIdentity
from tests.long.conftest import Record
from tests.support.databases import DATABASES, fresh_database
from tests.support.factories import make_adapter_bytes
from tests.support.processes import Server, server_process

pytestmark = pytest.mark.alone

TASKS = ("one", "two", "three")
KEY = "the-key-of-the-kill-test"
NUM_KILLS = {"sqlite": (200, 3), "postgresql": (50, 2)}  # in full, and otherwise


@dataclass(frozen=True)
class State:
    """The versions and aliases of a task."""

    versions: dict[int, str] = field(default_factory=dict)  # number -> digest
    aliases: dict[str, int] = field(default_factory=dict)

    def with_version(self, number: int, digest: str) -> "State":
        return replace(self, versions=self.versions | {number: digest})

    def with_alias(self, alias: str, number: int) -> "State":
        return replace(self, aliases=self.aliases | {alias: number})


class Client:
    """Changes one task, one request at a time, and records the acknowledged state."""

    def __init__(self, task: str, identity: BackboneIdentity, seeds: Iterator[int]) -> None:
        self.task, self._identity, self._seeds = task, identity, seeds
        self._draw = random.Random(task)
        self.state = State()
        self.under_way: list[State] = []  # possible states after the unanswered request
        self.num_acknowledged = 0

    def change(self, http: httpx.Client) -> None:
        """Make one random change and wait for its acknowledgement. Raises httpx.HTTPError if the server is gone."""
        choice = self._draw.random()
        if choice < 0.5 or not self.state.versions:
            self._upload(http)
        elif choice < 0.8:
            self._set_alias(http)
        else:
            self._rollback(http)
        self.under_way = []
        self.num_acknowledged += 1

    def _upload(self, http: httpx.Client) -> None:
        data = make_adapter_bytes(identity=self._identity, seed=next(self._seeds))
        activate = self._draw.random() < 0.6
        number, digest = len(self.state.versions) + 1, hashlib.sha256(data).hexdigest()
        published = self.state.with_version(number, digest)
        activated = published.with_alias("live", number)
        self.under_way = [published, activated] if activate else [published]
        response = http.post(
            f"/admin/v1/tasks/{self.task}/versions",
            content=data,
            params={"activate": str(activate).lower()},
            headers={"Content-Type": "application/octet-stream"},
        )
        assert response.status_code == 201, response.text
        assert (response.json()["version"], response.json()["digest"]) == (number, digest)
        self.state = self.under_way[-1]

    def _set_alias(self, http: httpx.Client) -> None:
        alias, number = self._draw.choice(("live", "canary")), self._draw.choice(list(self.state.versions))
        moved = self.state.with_alias(alias, number)
        self.under_way = [moved]
        response = http.put(f"/admin/v1/tasks/{self.task}/aliases/{alias}", json={"version": number})
        assert response.status_code == 200, response.text
        self.state = moved

    def _rollback(self, http: httpx.Client) -> None:
        # The registry's tests check the target; here it may be any version.
        self.under_way = [self.state.with_alias("live", number) for number in self.state.versions]
        response = http.post(f"/admin/v1/tasks/{self.task}/rollback")
        assert response.status_code in (200, 409), response.text
        if response.status_code == 200:
            self.state = self.state.with_alias("live", response.json()["aliases"]["live"])

    def compare(self, found: State) -> None:
        """Check that the state is the acknowledged one, with or without the complete unanswered request."""
        assert found in [self.state, *self.under_way], (self.task, found, self.state, self.under_way)
        self.state, self.under_way = found, []


def read_states(url: str) -> dict[str, State]:
    """Read the state of each task from the database; check every hash and reference."""
    engine = sqlalchemy.create_engine(url)
    states: dict[str, State] = {task: State() for task in TASKS}
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        blobs = set()
        for digest, data in connection.exec_driver_sql("SELECT digest, data FROM blobs"):
            assert hashlib.sha256(data).hexdigest() == digest
            blobs.add(digest)
        for task, version, digest in connection.exec_driver_sql("SELECT task, version, digest FROM versions"):
            assert digest in blobs
            states[task] = states[task].with_version(version, digest)
        assert {digest for state in states.values() for digest in state.versions.values()} == blobs
        for task, alias, version in connection.exec_driver_sql("SELECT task, name, version FROM aliases"):
            assert version in states[task].versions
            states[task] = states[task].with_alias(alias, version)
    engine.dispose()
    return states


def change_until_killed(server: Server, client: Client) -> None:
    with httpx.Client(base_url=server.url, headers=server.headers, timeout=30) as http:
        while True:
            try:
                client.change(http)
            except httpx.HTTPError:
                return


def kill_while_busy(server: Server, clients: list[Client], after_s: float) -> None:
    """Kill the server while the clients work, and check that it leaves no process behind."""
    threads = [threading.Thread(target=change_until_killed, args=(server, client)) for client in clients]
    family = psutil.Process(server.process.pid).children(recursive=True)
    for thread in threads:
        thread.start()
    time.sleep(after_s)
    server.process.kill()
    server.process.wait()
    for thread in threads:
        thread.join()
    _, left = psutil.wait_procs(family, timeout=10)
    assert left == []


@pytest.mark.parametrize("kind", DATABASES)
def test_no_acknowledged_write_is_lost(
    kind: str, tmp_path: Path, tiny: LoadedBackbone, tiny_folder: Path, is_long: bool, record: Record
) -> None:
    """After each kill, acknowledged changes are stored, blobs and aliases are intact, and the server restarts."""
    num_kills = NUM_KILLS[kind][0 if is_long else 1]
    draw, seeds = random.Random(kind), itertools.count()
    clients = [Client(task, tiny.identity, seeds) for task in TASKS]
    (tmp_path / "data").mkdir()
    settings = {
        "backbone": str(tiny_folder),
        "publish_shipped_adapters": "false",
        "admin_key": KEY,
        "engine_threads": "1",
    }
    num_in_flight = 0
    with fresh_database(kind, tmp_path) as url:
        for _ in range(num_kills):
            with server_process(tmp_path / "data", registry_url=url, **settings) as server:
                for client in clients:
                    if number := client.state.aliases.get("live"):
                        response = httpx.post(f"{server.url}/v1/{client.task}/predict", json={"inputs": "a"})
                        assert response.status_code == 200, response.text
                        assert response.json()["digest"] == client.state.versions[number]
                kill_while_busy(server, clients, draw.uniform(0.05, 1.0))
            num_in_flight += sum(bool(client.under_way) for client in clients)
            states = read_states(url)
            for client in clients:
                client.compare(states[client.task])
    acknowledged = sum(client.num_acknowledged for client in clients)
    versions = sum(len(client.state.versions) for client in clients)
    assert acknowledged > num_kills
    record(kills=num_kills, acknowledged=acknowledged, in_flight_at_the_kill=num_in_flight, versions=versions)
