"""The bodies of requests that an overloaded server has refused: cut, endless, malformed, or never sent."""

import time
from contextlib import suppress
from pathlib import Path

import pytest

from adapters.backbone.source import LoadedBackbone
from service.server import graceful_server as listening_module
from tests.support.factories import make_adapter_bytes
from tests.support.raw_client import BODY, LIVE, REQUEST, WAIT_S, Client, head, make_room
from tests.support.serving import UPLOAD, Listening, listening

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
