"""Refusals before anything is made of a request, on a real socket: what clients see, and what comes next."""

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adapters.backbone.source import LoadedBackbone
from service.server import graceful_server as listening_module
from tests.support.factories import make_adapter_bytes
from tests.support.serving import UPLOAD, Listening, listening

BODY = b'{"inputs": "a good film"}'
LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
WAIT_S = 30


def head(length: str = f"Content-Length: {len(BODY)}", more: str = "", path: str = "/v1/t/predict") -> bytes:
    lines = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{length}\r\n{more}\r\n"
    return lines.encode()


REQUEST = head() + BODY


@dataclass
class Answer:
    """An answer to one request."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Client:
    """A connection whose answers are read one by one."""

    port: int
    connection: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self.connection = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S)
        self._file = self.connection.makefile("rb")

    def send(self, *packets: bytes) -> None:
        """Each in a packet of its own, as far as the network cares."""
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number, packet in enumerate(packets):
            time.sleep(0.02 if number else 0)
            self.connection.sendall(packet)

    def read(self) -> Answer:
        """The next answer."""
        status = int(self._file.readline().split()[1])
        headers = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name] = value
        return Answer(status, headers, self._file.read(int(headers.get("content-length", "0"))))

    def ask(self, *packets: bytes) -> Answer:
        """Send, and read one answer."""
        self.send(*packets)
        return self.read()

    @property
    def is_ended(self) -> bool:
        """Whether the server says no more."""
        return self._file.read() == b""

    def close(self) -> None:
        self._file.close()
        self.connection.close()


@pytest.fixture
def server(tiny: LoadedBackbone, tmp_path: Path) -> Iterator[Listening]:
    """With room for one request."""
    with listening(tiny, tmp_path, max_queued_requests=1) as server:
        data = make_adapter_bytes(identity=tiny.identity)
        assert server.request("POST", "/admin/v1/tasks/t/versions", UPLOAD, data)[0] == 201
        yield server


@pytest.fixture
def holder(server: Listening) -> Iterator[Client]:
    """It has the one permit, until its body comes."""
    holder = Client(server.port)
    holder.send(head())
    until = time.monotonic() + WAIT_S
    while server.request("POST", "/v1/t/predict", {"Content-Type": "application/json"}, BODY)[0] != 429:
        assert time.monotonic() < until
    yield holder
    holder.close()


@pytest.fixture
def client(server: Listening, holder: Client) -> Iterator[Client]:
    client = Client(server.port)
    yield client
    client.close()


def make_room(holder: Client) -> None:
    assert holder.ask(BODY).status == 200


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


CHUNKED = [b'5\r\n{"inp\r\n', b"%x\r\n%b\r\n" % (len(LIVE), LIVE), b"0\r\n", b"\r\n"]


@pytest.mark.parametrize(
    "packets",
    [
        [head(), BODY],
        [head(), *(BODY[at : at + 5] for at in range(0, len(BODY), 5))],
        [head()[:40], head()[40:], BODY],
        [head(f"Content-Length: {len(REQUEST)}"), REQUEST],
        [head(f"Content-Length: {len(REQUEST)}"), REQUEST[:50], REQUEST[50:]],
        [head("Transfer-Encoding: chunked"), *CHUNKED],
        [head("Transfer-Encoding: chunked") + b"".join(CHUNKED)],
        [head(f"Content-Length: {len(LIVE) * 100_000}"), LIVE * 100_000],
        [head("Content-Length: 0")],
        [head("X: x")],
    ],
)
def test_a_body_is_no_request(client: Client, packets: list[bytes]) -> None:
    """However a body comes after its refusal, whatever it looks like and however large it is, there is one answer."""
    for _ in range(2):
        assert client.ask(*packets).status == 429
        assert client.ask(LIVE).body == b'{"status":"ok"}'


def test_refused_before_the_body(server: Listening, holder: Client) -> None:
    """The refusal does not ask for the body that a client holds back; the connection ends, with or without the body."""
    for rest in ([], [BODY], [BODY + LIVE]):
        client = Client(server.port)
        answer = client.ask(head(more="Expect: 100-continue\r\n"), *rest)
        assert (answer.status, answer.headers["connection"]) == (429, "close")
        assert client.is_ended
        client.close()


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


def test_a_client_that_leaves(server: Listening, holder: Client) -> None:
    """Clients that leave in the middle of what was refused leave nothing behind."""
    for packets in ([head()], [head(), BODY[:5]], [head("Transfer-Encoding: chunked"), b"5\r\nab"]):
        client = Client(server.port)
        assert client.ask(*packets).status == 429
        client.close()
    make_room(holder)
    assert server.request("POST", "/v1/t/predict", {"Content-Type": "application/json"}, BODY)[0] == 200


def test_a_body_that_never_ends(tiny: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection on which a refused body stands still is closed like one that is idle."""
    monkeypatch.setattr(listening_module, "KEEP_ALIVE_S", 0.3)
    with listening(tiny, tmp_path, max_queued_requests=1) as server:
        data = make_adapter_bytes(identity=tiny.identity)
        assert server.request("POST", "/admin/v1/tasks/t/versions", UPLOAD, data)[0] == 201
        holder, client = Client(server.port), Client(server.port)
        holder.send(head())
        time.sleep(0.1)
        assert client.ask(head(), BODY[:5]).status == 429
        assert client.is_ended
        client.close()
        holder.close()


def test_malformed_bodies(client: Client) -> None:
    """A refused request whose body then breaks HTTP gets no second answer, and the connection ends."""
    assert client.ask(head("Transfer-Encoding: chunked"), b"no number\r\n").status == 429
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


def test_who_reads_nothing(client: Client) -> None:
    """A client that sends on and on without reading is read from no more, and gets every answer once it reads."""
    client.connection.settimeout(0.5)
    num_sent = 0
    with suppress(TimeoutError):
        while num_sent < 200_000:
            client.connection.sendall(head("Content-Length: 0"))
            num_sent += 1
    assert 1000 < num_sent < 200_000
    client.connection.settimeout(WAIT_S)
    assert {client.read().status for _ in range(num_sent)} == {429}
