"""Limits of a connection on heads, targets and trailers, and what the fields of a request mean."""

import pytest

from service.server.connection.request_head import MAX_FIELDS, MAX_HEAD_BYTES, MAX_TARGET_BYTES
from tests.support.connections import CHUNKED, Line, request


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (b"".join(b"X-%d: a\r\n" % n for n in range(MAX_FIELDS - 1)), 200),
        (b"".join(b"X-%d: a\r\n" % n for n in range(MAX_FIELDS)), 431),
        (b"X: " + b"a" * (MAX_HEAD_BYTES - 100) + b"\r\n", 200),
        (b"X: " + b"a" * MAX_HEAD_BYTES + b"\r\n", 431),
        (b"X" * MAX_HEAD_BYTES + b": a\r\n", 431),
        (b"X: " + b"a" * 10 * MAX_HEAD_BYTES, 431),
        (b"X" * 10 * MAX_HEAD_BYTES, 431),
        (b"X: a\r\n" * 1_000_000, 431),
    ],
)
@pytest.mark.parametrize("size", [1_000, 65_536, 10_000_000])
async def test_large_heads(fields: bytes, status: int, size: int) -> None:
    """A head of more than 64 KiB or 100 fields is refused, complete or not, whatever the packets' size."""
    data = request(fields)
    line = Line()
    for at in range(0, len(data), size):
        if not line.is_ended:
            await line.send(data[at : at + size])
    assert (line.statuses, line.is_ended) == ([status], status == 431)
    assert line.errors() == ({} if status == 200 else {"head_too_large": 1})
    await line.close()


@pytest.mark.parametrize("size", [1_000, 10_000_000])
async def test_long_targets(size: int) -> None:
    """A target of more than 8 KiB is refused, complete or not."""
    for length, status in ((MAX_TARGET_BYTES - 1, 200), (MAX_TARGET_BYTES, 414), (1_000_000, 414)):
        data = request(path=b"/" + b"a" * length, method=b"GET")
        line = Line()
        await line.send(*(data[at : at + size] for at in range(0, len(data), size)))
        assert line.statuses == [status]
        await line.close()


@pytest.mark.parametrize(
    "chunks",
    [
        b"5\r\nhello\r\n0\r\n" + b"X: a\r\n" * 200,
        b"5\r\nhello\r\n0\r\nX: " + b"a" * 200_000,
        b"5;" + b"a" * 200_000,
        b"5;a=" + b"b" * 90_000 + b"\r\nhello\r\n0\r\n\r\n",
        b"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nh\r\n" * 10_000,
    ],
)
@pytest.mark.parametrize("path", [b"/a", b"/early", b"/v1/full/predict"])
async def test_large_trailers(chunks: bytes, path: bytes) -> None:
    """Trailers and chunk extensions are bounded as heads are; a request has one answer, and the connection ends."""
    data = request(b"Transfer-Encoding: chunked\r\n", chunks, path=path)
    line = Line()
    await line.send(*(data[at : at + 20_000] for at in range(0, len(data), 20_000)))
    assert line.statuses == [{b"/a": 431, b"/early": 401, b"/v1/full/predict": 429}[path]]
    assert line.is_ended
    await line.close()


@pytest.mark.parametrize("blanks", [b" ", b"\t", b" \t  "])
async def test_blanks_around_values(blanks: bytes) -> None:
    """White space on both sides of a value is no part of it."""
    line = Line()
    fields = b"X-Name:" + blanks + b"a b" + blanks + b"\r\nContent-Length: 5" + blanks + b"\r\n"
    await line.send(request(b"Expect: 100-continue" + blanks + b"\r\n" + fields, b"hello"))
    assert line.statuses == [100, 200]
    assert ["x-name", "a b"] in line.bodies[0]["headers"]
    await line.close()


async def test_trailers_are_no_headers() -> None:
    """The fields after a body do not reach the application."""
    line = Line()
    await line.send(CHUNKED)
    assert line.bodies[0]["headers"] == [["host", "x"], ["transfer-encoding", "chunked"]]
    await line.close()


@pytest.mark.parametrize(
    ("peer", "fields", "client"),
    [
        ("127.0.0.1", b"X-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7"),
        ("127.0.0.1", b"X-Forwarded-For: 198.51.100.1, 192.0.2.7\r\n", "192.0.2.7"),
        ("127.0.0.1", b"X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 192.0.2.7:80\r\n", "192.0.2.7"),
        ("127.0.0.1", b"X-Forwarded-For: 192.0.2.7, 127.0.0.1\r\n", "192.0.2.7"),
        ("127.0.0.1", b"X-Forwarded-For: [2001:DB8:0::7]:80\r\n", "2001:db8::7"),
        ("127.0.0.1", b"X-Forwarded-For: ::ffff:192.0.2.7\r\n", "192.0.2.7"),
        ("127.0.0.1", b"X-Forwarded-For: fe80::1%" + b"a" * 50 + b"\r\n", "fe80::1"),
        ("127.0.0.1", b"X-Forwarded-For: fe80::1%" + b"a" * 5000 + b"\r\n", "127.0.0.1"),
        ("127.0.0.1", b"X-Forwarded-For: unknown\r\n", "127.0.0.1"),
        ("127.0.0.1", b"X-Forwarded-For: <script>, \r\n", "127.0.0.1"),
        ("127.0.0.1", b"X-Forwarded-For: 192.0.2.7, " + b"a" * 60_000 + b"\r\n", "127.0.0.1"),
        ("127.0.0.1", b"X-Forwarded-For:\r\n", "127.0.0.1"),
        ("::ffff:127.0.0.1", b"X-Forwarded-For: 192.0.2.7\r\n", "192.0.2.7"),
        ("203.0.113.9", b"X-Forwarded-For: 192.0.2.7\r\n", "203.0.113.9"),
    ],
)
async def test_the_clients_address(peer: str, fields: bytes, client: str) -> None:
    """A client's address is an IP address: the one that a trusted proxy names, else that of the socket."""
    line = Line(peer=peer)
    await line.send(request(fields + b"X-Forwarded-Proto: https\r\n"))
    assert line.bodies[0]["client"][0] == client
    assert line.bodies[0]["scheme"] == ("http" if peer.startswith("203") else "https")
    await line.close()
