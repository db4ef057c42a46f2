"""Logs, traces, request ids, health and console of a server with several HTTP processes: those of one server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.backbone.source import LoadedBackbone
from tests.support.process_tree import connected_to_each, publish
from tests.support.processes import Server, server_process
from tests.support.raw_client import BODY, Answer, Client, head
from tests.support.trace_collector import Collector, collecting

NUM_HTTP = 3
IDS = [f"request-{number}" for number in range(NUM_HTTP)]


def get(client: Client, path: str, key: str = "") -> Answer:
    """Ask for `path`."""
    return client.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode())


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with pytest.MonkeyPatch.context() as patch, collecting(Collector(), patch) as collector:
        yield collector


@pytest.fixture(scope="module")
def server(
    collector: Collector, tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path, tiny: LoadedBackbone
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    publish(f"sqlite:///{folder / 'registry.sqlite3'}", tiny.identity, {"t": 1})
    given = {"backbone": str(tiny_folder), "publish_shipped_adapters": "false"}
    with server_process(folder, http_workers=str(NUM_HTTP), log_format="json", access_log="true", **given) as server:
        yield server


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/v1/tasks", "/console", "/admin/v1/tasks"])
def test_each_process_shows_the_same(server: Server, path: str) -> None:
    """Whichever process answers: the same status and, but for times, the same body."""
    with connected_to_each(server, NUM_HTTP) as by_process:
        answers = [get(clients[0], path, server.key) for clients in by_process.values()]
    assert {answer.status for answer in answers} == {200}
    assert len({_without_measures(answer) for answer in answers}) == 1


def test_each_request_has_one_id_one_line_and_one_trace(server: Server, collector: Collector) -> None:
    """Ids of clients come back; ids that a process makes differ; line and trace of a request name each other."""
    made = set()
    with connected_to_each(server, NUM_HTTP) as by_process:
        for (client, *_), name in zip(by_process.values(), IDS, strict=True):
            given = client.ask(head(more=f"X-Request-Id: {name}\r\n") + BODY)
            assert (given.status, given.headers["x-request-id"]) == (200, name)
            made.add(client.ask(head() + BODY).headers["x-request-id"])
    assert len(made) == NUM_HTTP
    server.process.terminate()  # the collector has all spans once the server has ended
    assert server.process.wait(60) == 0
    lines: list[dict[str, Any]] = [json.loads(line) for line in server.log.splitlines()]
    logged = [line for line in lines if line["logger"] == "service.access" and line.get("request_id") in {*IDS, *made}]
    assert sorted(line["request_id"] for line in logged) == sorted({*IDS, *made})
    roots = [(resource, span) for resource, span in collector.spans if not span.parent_span_id]
    assert {line["trace_id"] for line in logged} <= {span.trace_id.hex() for _, span in roots}
    assert len({resource["service.name"] for resource, _ in roots}) == 1


def _without_measures(answer: Answer) -> str:
    """The body; of JSON without numbers with a fraction, which are times."""
    try:
        body = json.loads(answer.body)
    except ValueError:
        return answer.body.decode()
    return json.dumps(_leave_out(body), sort_keys=True)


def _leave_out(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _leave_out(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_leave_out(item) for item in value]
    return None if isinstance(value, float) else value
