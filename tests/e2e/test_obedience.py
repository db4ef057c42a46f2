"""Each acknowledged change is obeyed at once by every HTTP process, whichever of them made it."""

import itertools
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from adapters.backbone.source import LoadedBackbone
from tests.support.databases import DATABASES, fresh_database
from tests.support.factories import make_adapter_bytes
from tests.support.process_tree import connected_to_each, owners, port_of, publish
from tests.support.processes import Server, server_process
from tests.support.raw_client import Answer, Client

NUM_HTTP = 3
ROUNDS = 60
NUM_FRESH = 4  # connections that are opened after each change, besides one to each process


class Cluster:
    """A server with one open connection to each of its HTTP processes, which make the changes in turn."""

    def __init__(self, server: Server, clients: list[Client]) -> None:
        self.server, self.clients = server, clients
        self._turns = itertools.cycle(clients)
        self.num_checked = 0

    def change(self, method: str, path: str, body: Any = b"", *, status: int = 200) -> Any:
        """Make a change through the next process, and return the answer, which must have `status`."""
        answer = ask(next(self._turns), method, f"/admin/v1{path}", body, self.server.key)
        assert answer.status == status, answer.body
        return json.loads(answer.body) if answer.body else None

    def answers(self, method: str, path: str, body: Any = b"", *, key: str | None = None) -> list[tuple[int, Any]]:
        """Ask every process, and some on fresh connections, and return statuses and bodies."""
        with ExitStack() as stack:
            fresh = [Client(port_of(self.server)) for _ in range(NUM_FRESH)]
            for client in fresh:
                stack.callback(client.close)
            found = [ask(client, method, path, body, key or self.server.key) for client in (*self.clients, *fresh)]
        self.num_checked += len(found)
        return [(answer.status, json.loads(answer.body)) for answer in found]

    def served(self, task: str, *, key: str | None = None) -> set[tuple[int, int | str]]:
        """Return the statuses with the versions, or kinds of error, that all processes answer for `task`."""
        answers = self.answers("POST", f"/v1/{task}/predict", {"inputs": "a good film"}, key=key)
        return {(status, body["version"] if status == 200 else body["error_type"]) for status, body in answers}


def ask(client: Client, method: str, path: str, body: Any, key: str) -> Answer:
    """Send a request with a JSON or a raw body."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    head += f"Content-Type: {kind}\r\nContent-Length: {len(data)}\r\n\r\n"
    client.connection.sendall(head.encode() + data)
    return client.read()


@pytest.fixture(scope="module", params=DATABASES)
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path, tiny: LoadedBackbone
) -> Iterator[Cluster]:
    """A server that reads its registry every minute unless it learns of a change. Versions 1 to 3 of `t`, 3 is live."""
    folder = tmp_path_factory.mktemp("server")
    given = {"backbone": str(tiny_folder), "http_workers": str(NUM_HTTP), "registry_poll_s": "60"}
    given |= {"require_key": "true", "publish_shipped_adapters": "false"}
    with ExitStack() as stack:
        url = stack.enter_context(fresh_database(request.param, folder))
        (folder / "data").mkdir(exist_ok=True)
        publish(url, tiny.identity, {"t": 3})
        command = sys.executable, "-m", "benchmarks.serving.instant_engine"
        server = stack.enter_context(server_process(folder, command=command, registry_url=url, **given))
        by_process = stack.enter_context(connected_to_each(server, NUM_HTTP))
        cluster = Cluster(server, [clients[0] for clients in by_process.values()])
        yield cluster
        assert set(owners(server, cluster.clients)) == set(by_process)  # none was replaced
        assert "did not follow" not in server.log


def test_aliases(cluster: Cluster) -> None:
    """`live` moves to another version and, every third time, back by a rollback."""
    before, live = 3, 3
    for number in range(ROUNDS):
        if number % 3 == 2:
            cluster.change("POST", "/tasks/t/rollback")
            live = before
        else:
            before, live = live, 1 + (live + number % 2) % 3
            cluster.change("PUT", "/tasks/t/aliases/live", {"version": live})
        assert cluster.served("t") == {(200, live)}, number


def test_keys(cluster: Cluster) -> None:
    """A key is good from its creation to its revocation."""
    for _ in range(ROUNDS // 2):
        made = cluster.change("POST", "/keys", {"name": "a", "scopes": ["predict"]}, status=201)
        assert {status for status, _ in cluster.served("t", key=made["key"])} == {200}
        cluster.change("DELETE", f"/keys/{made['id']}")
        assert cluster.served("t", key=made["key"]) == {(401, "unauthorised")}


def test_weights(cluster: Cluster) -> None:
    """Each process knows the new weight."""
    for number in range(1, 1 + ROUNDS // 2):
        cluster.change("PUT", "/tasks/t/weight", {"weight": number / 2})
        answers = cluster.answers("GET", "/admin/v1/tasks/t")
        assert {body["weight"] for _, body in answers} == {number / 2}


def test_uploads_and_deletions(cluster: Cluster, tiny: LoadedBackbone) -> None:
    """An uploaded version serves on every process, and a deleted one on none."""
    for seed in range(10):
        data = make_adapter_bytes(identity=tiny.identity, seed=100 + seed)
        cluster.change("POST", "/tasks/u/versions", data, status=201)
        assert cluster.served("u") == {(200, seed + 1)}
        if seed:
            cluster.change("DELETE", f"/tasks/u/versions/{seed}", status=204)
            assert cluster.served(f"u@{seed}") == {(404, "unknown_version")}
