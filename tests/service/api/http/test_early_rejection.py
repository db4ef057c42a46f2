"""Early rejection on a real socket: an overloaded server answers a prediction by its head alone."""

import time
from pathlib import Path

import pytest

from adapters.backbone.source import LoadedBackbone
from tests.support.factories import make_adapter_bytes
from tests.support.raw_client import BODY, LIVE, REQUEST, Client, head, make_room
from tests.support.serving import UPLOAD, Listening, listening


def refused(server: Listening) -> float:
    """How many refusals were counted; each in two metrics."""
    names = ('adakron_rejected_total{reason="queued_requests"}', 'adakron_requests_total{code="429",task="t"}')
    lines = server.request("GET", "/metrics")[1].decode().splitlines()
    by_bound, by_code = (float(line.split()[1]) for line in sorted(lines) if line.startswith(names))
    assert by_bound == by_code
    return by_code


def test_it_says_what_the_route_says(server: Listening, client: Client) -> None:
    """A refusal by the head alone and one by the route are the same answer and are counted the same."""
    before = refused(server)
    early = client.ask(REQUEST)
    client.send(LIVE + REQUEST)  # behind another one it waits for its turn, and then the route has it
    assert client.read().status == 200
    late = client.read()
    assert early.status == late.status == 429
    assert early.body == late.body
    assert (
        list(early.headers)
        == list(late.headers)
        == [
            "date",
            "retry-after",
            "content-length",
            "content-type",
            "x-request-id",
            "x-content-type-options",
            "cache-control",
        ]
    )
    assert early.headers["x-request-id"] != late.headers["x-request-id"]
    own = {"date": "", "x-request-id": ""}
    assert early.headers | own == late.headers | own
    assert refused(server) == before + 2


def test_the_connection_stays(client: Client, holder: Client) -> None:
    """After refusals the same connection is answered as soon as there is room."""
    assert [client.ask(REQUEST).status for _ in range(3)] == [429] * 3
    make_room(holder)
    assert client.ask(REQUEST).status == 200


def test_pipelined(client: Client, holder: Client) -> None:
    """Requests that come together are answered in their order, refused or not."""
    client.send(LIVE + REQUEST + LIVE + REQUEST + REQUEST)
    assert [client.read().status for _ in range(5)] == [200, 429, 200, 429, 429]
    client.send(REQUEST + REQUEST + LIVE + REQUEST)
    assert [client.read().status for _ in range(4)] == [429, 429, 200, 429]
    make_room(holder)
    client.send(REQUEST + LIVE + REQUEST)
    assert [client.read().status for _ in range(3)] == [200] * 3


def test_other_methods(client: Client) -> None:
    """Methods other than POST are answered 405, overloaded or not."""
    for method in (b"GET", b"PUT", b"OPTIONS"):
        assert client.ask(method + b" /v1/t/predict HTTP/1.1\r\nHost: x\r\n\r\n").status == 405
    assert client.ask(REQUEST).status == 429
    client.send(b"HEAD /v1/t/predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert client._file.readline().split()[1] == b"405"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/unknown/predict", 429),
        ("/v1/t@9/predict", 429),
        ("/v1/%74/predict", 429),
        ("/v1/t/predict?a=b", 429),
        ("http://x/v1/t/predict", 429),
        ("/v1/predict", 429),
        ("/classify", 429),
        ("/tei/t/predict", 429),
        ("/v2/models/t/infer", 429),
        ("/v1//predict", 404),
        ("/v1/a/b/predict", 404),
    ],
)
def test_paths(client: Client, path: str, status: int) -> None:
    """However a path is spelled, a refusal is a refusal, and what is no such path is not found."""
    assert client.ask(head(path=path) + BODY).status == status


def test_a_time_limit_that_is_none(client: Client) -> None:
    """A malformed header is reported before any overload."""
    assert client.ask(head(more="X-Request-Timeout-Ms: soon\r\n") + BODY).status == 422


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
def test_upgrades(client: Client, protocol: str) -> None:
    """A request that would like another protocol is answered in this one."""
    assert client.ask(head(more=f"Connection: upgrade\r\nUpgrade: {protocol}\r\n") + BODY).status == 429


@pytest.mark.parametrize(
    "request_", [head(more="Connection: close\r\n") + BODY, REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0")]
)
def test_a_connection_that_shall_end(client: Client, request_: bytes) -> None:
    """The answer to a client that will send no more says that the connection ends, and it ends."""
    answer = client.ask(request_)
    assert (answer.status, answer.headers["connection"]) == (429, "close")
    assert client.is_ended


def test_while_it_drains(server: Listening, client: Client) -> None:
    """A server that ends tells it to those whom it refuses, and closes."""
    server.state.draining.set()
    answer = client.ask(REQUEST)
    assert (answer.status, answer.headers["connection"]) == (429, "close")
    assert client.is_ended


def test_keys_come_first(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """With ADAKRON_REQUIRE_KEY who has no key does not learn how busy the server is."""
    with listening(tiny, tmp_path, max_queued_requests=1, require_key=True) as server:
        data = make_adapter_bytes(identity=tiny.identity)
        assert server.request("POST", "/admin/v1/tasks/t/versions", UPLOAD, data)[0] == 201
        holder, client = Client(server.port), Client(server.port)
        holder.send(head(more=f"Authorization: {UPLOAD['Authorization']}\r\n"))
        time.sleep(0.1)
        assert client.ask(REQUEST).status == 401
        assert client.ask(head(more=f"Authorization: {UPLOAD['Authorization']}\r\n") + BODY).status == 429
        client.close()
        holder.close()
