"""Each acknowledged change is obeyed at once by every HTTP process, whichever of them made it.

Changes arrive at the admin port, predictions at the public one.
"""

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
from tests.support.process_tree import admin_port_of, connected_to_each, owners, port_of, publish
from tests.support.processes import Server, server_process
from tests.support.raw_client import Answer, Client

NUM_HTTP = 3
ROUNDS = 60
NUM_FRESH = 4  # connections that are opened after each change, besides one to each process


class Cluster:
    """A server with one open connection to each port of its HTTP processes, which make the changes in turn."""

    def __init__(self, server: Server, clients: list[Client], admins: list[Client]) -> None:
        self.server, self.clients, self.admins = server, clients, admins
        self._turns = itertools.cycle(admins)

    def change(self, method: str, path: str, body: Any = b"", *, status: int = 200) -> Any:
        """Make a change through the next process, and return the answer, which must have `status`."""
        answer = ask(next(self._turns), method, f"/admin/v1{path}", body, self.server.key)
        assert answer.status == status, answer.body
        return json.loads(answer.body) if answer.body else None

    def answers(self, method: str, path: str, body: Any = b"", *, key: str | None = None) -> list[tuple[int, Any]]:
        """Ask every process, and some on fresh connections, and return statuses and bodies.

        Paths of the admin API are asked at the admin port, others at the public one.
        """
        is_admin = path.startswith("/admin/")
        port, clients = (admin_port_of, self.admins) if is_admin else (port_of, self.clients)
        with ExitStack() as stack:
            fresh = [Client(port(self.server)) for _ in range(NUM_FRESH)]
            for client in fresh:
                stack.callback(client.close)
            found = [ask(client, method, path, body, key or self.server.key) for client in (*clients, *fresh)]
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
    given |= {"require_key": "true", "publish_shipped_adapters": "false", "admin_port": "0"}
    with ExitStack() as stack:
        url = stack.enter_context(fresh_database(request.param, folder))
        (folder / "data").mkdir(exist_ok=True)
        publish(url, tiny.identity, {"t": 3})
        command = sys.executable, "-m", "benchmarks.serving.instant_engine"
        server = stack.enter_context(server_process(folder, command=command, registry_url=url, **given))
        by_process = stack.enter_context(connected_to_each(server, NUM_HTTP))
        by_admin = stack.enter_context(connected_to_each(server, NUM_HTTP, port=admin_port_of(server)))
        assert set(by_admin) == set(by_process)
        cluster = Cluster(server, *([clients[0] for clients in each.values()] for each in (by_process, by_admin)))
        yield cluster
        for clients in (cluster.clients, cluster.admins):
            assert set(owners(server, clients)) == set(by_process)  # none was replaced
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


def test_the_audit_log(cluster: Cluster, tiny: LoadedBackbone) -> None:
    """Each process lists a change of every kind as the newest one, from its answer on."""
    for number in (1, 2):
        data = make_adapter_bytes(identity=tiny.identity, seed=200 + number)
        cluster.change("POST", "/tasks/a/versions", data, status=201)
        assert newest(cluster) == ("set_alias", "a", number)
    cluster.change("PUT", "/tasks/a/aliases/canary", {"version": 1})
    assert newest(cluster) == ("set_alias", "a", 1)
    cluster.change("DELETE", "/tasks/a/aliases/canary", status=204)
    assert newest(cluster) == ("delete_alias", "a", 1)
    cluster.change("PUT", "/tasks/a/weight", {"weight": 2})
    assert newest(cluster) == ("set_weight", "a", None)
    cluster.change("DELETE", "/tasks/a/versions/1", status=204)
    assert newest(cluster) == ("delete_version", "a", 1)
    made = cluster.change("POST", "/keys", {"name": "a", "scopes": ["admin"]}, status=201)
    assert newest(cluster, made["key"]) == ("create_key", None, None)
    cluster.change("DELETE", f"/keys/{made['id']}")
    assert newest(cluster) == ("revoke_key", None, None)
    assert {status for status, _ in cluster.answers("GET", "/admin/v1/audit", key=made["key"])} == {401}


def newest(cluster: Cluster, key: str | None = None) -> tuple[str, str | None, int | None]:
    """Return action, task and version of the newest entry, which all processes must agree on."""
    answers = cluster.answers("GET", "/admin/v1/audit?limit=1", key=key)
    ((entry, *others),) = {tuple(map(json.dumps, body["entries"])) for _, body in answers}
    assert not others
    found = json.loads(entry)
    return found["action"], found["task"], found["version"]


def test_no_process_has_an_admin_route_on_the_public_port(cluster: Cluster, tiny: LoadedBackbone) -> None:
    """With the first key, changes and questions of every kind are 404 there, and change nothing."""
    key = cluster.change("POST", "/keys", {"name": "b", "scopes": ["predict"]}, status=201)
    before = cluster.answers("GET", "/admin/v1/tasks/t")[0], cluster.served("t")
    requests: list[tuple[str, str, Any]] = [
        ("POST", "/tasks/t/versions", make_adapter_bytes(identity=tiny.identity, seed=300)),
        ("PUT", "/tasks/t/aliases/live", {"version": 1}),
        ("PUT", "/tasks/t/aliases/live", {"version": 2}),
        ("POST", "/tasks/t/rollback", b""),
        ("DELETE", "/tasks/t/versions/3", b""),
        ("PUT", "/tasks/t/weight", {"weight": 7}),
        ("POST", "/keys", {"name": "c", "scopes": ["predict"]}),
        ("DELETE", f"/keys/{key['id']}", b""),
        ("GET", "/keys", b""),
        ("GET", "/audit", b""),
        ("GET", "/tasks/t", b""),
    ]
    for client in cluster.clients:
        for method, path, body in requests:
            answer = ask(client, method, f"/admin/v1{path}", body, cluster.server.key)
            assert (answer.status, json.loads(answer.body)["error_type"]) == (404, "not_found"), (method, path)
    assert newest(cluster)[0] == "create_key"
    assert (cluster.answers("GET", "/admin/v1/tasks/t")[0], cluster.served("t", key=key["key"])) == before
