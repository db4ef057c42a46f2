"""Requests on one connection: every form of them, however their bytes are cut, is answered as HTTP says."""

import asyncio
import os

import pytest

from service.server.connection.request_head import MAX_FIELDS, MAX_HEAD_BYTES, MAX_TARGET_BYTES
from tests.support.connections import Line, answers

H2C = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\nUpgrade: h2c\r\n"
LIVE = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"


def request(
    fields: bytes = b"", body: bytes = b"", method: bytes = b"POST", path: bytes = b"/a", version: bytes = b"1.1"
) -> bytes:
    return method + b" " + path + b" HTTP/" + version + b"\r\nHost: x\r\n" + fields + b"\r\n" + body


EXPECT = b"Expect: 100-continue\r\n"
FIVE = b"Content-Length: 5\r\n"
LENGTH = request(FIVE, b"hello")
CHUNKS = b"3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\nTrailer: t\r\n\r\n"
CHUNKED = request(b"Transfer-Encoding: chunked\r\n", CHUNKS)
FORMS = {
    "length": (LENGTH + LIVE, [200, 200], False),
    "chunked": (CHUNKED + LIVE, [200, 200], False),
    "no body": (request() + LIVE, [200, 200], False),
    "empty lines first": (b"\r\n\r\n" + LENGTH, [200], False),
    "h2c length": (request(H2C + FIVE, b"hello") + LIVE, [200, 200], False),
    "h2c chunked": (request(H2C + b"Transfer-Encoding: chunked\r\n", CHUNKS) + LIVE, [200, 200], False),
    "h2c no body": (request(H2C, method=b"GET") + request(H2C, method=b"GET") + LIVE, [200, 200, 200], False),
    "h2c twice": (request(H2C + FIVE, b"hello") * 2 + LENGTH, [200, 200, 200], False),
    "h2c and close": (
        request(H2C.replace(b"Upgrade,", b"close, upgrade,") + FIVE, b"hello"),
        [200],
        True,
    ),
    "h2c refused": (
        request(H2C + FIVE, b"hello", path=b"/v1/full/predict") + LIVE,
        [429, 200],
        False,
    ),
    "websocket": (
        request(b"UPGRADE: websocket\r\nconnection: upgrade\r\n" + FIVE, b"hello") + LIVE,
        [200, 200],
        False,
    ),
    "refused": (request(FIVE, b"hello", path=b"/v1/full/predict") + LIVE, [429, 200], False),
    "early": (request(FIVE, b"hello", path=b"/early") + LIVE, [401, 200], False),
    "expect": (request(EXPECT + FIVE, b"hello") + LIVE, [100, 200, 200], False),
    "close": (request(b"Connection: close\r\nContent-Length: 5\r\n", b"hello") + LIVE, [200], True),
    "1.0": (request(FIVE, b"hello", version=b"1.0") + LIVE, [200], True),
    "1.0 does not wait": (
        request(EXPECT + FIVE, b"hello", version=b"1.0"),
        [200],
        True,
    ),
    "malformed after two": (LENGTH + LIVE + b"nonsense\r\n\r\n", [200, 200, 400], True),
    "malformed": (b"nonsense\r\n\r\n" + LIVE, [400], True),
    "malformed chunk": (LIVE + request(b"Transfer-Encoding: chunked\r\n", b"x\r\n") + LIVE, [200, 400], True),
    "no host": (LIVE + b"GET / HTTP/1.1\r\n\r\n" + LIVE, [200, 400], True),
    "no host, 1.0": (b"GET / HTTP/1.0\r\n\r\n", [200], True),
    "two hosts": (request(b"host: y\r\n") + LIVE, [400], True),
    "both lengths": (request(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", CHUNKS), [400], True),
    "chunked and a blank": (request(b"Transfer-Encoding: chunked \r\n", CHUNKS) + LIVE, [200, 200], False),
    "gzip, chunked": (LENGTH + request(b"Transfer-Encoding: gzip, chunked\r\n", CHUNKS), [200, 501], True),
    "gzip": (request(b"Transfer-Encoding: gzip\r\n", CHUNKS), [501], True),
    "connect": (LIVE + b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n" + LIVE, [200, 501], True),
    "http 2 at once": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", [400], True),
    "version 2": (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", [400], True),
    "no url": (b"GET x:80 HTTP/1.1\r\nHost: x\r\n\r\n", [400], True),
    "url of a server": (b"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", [200], False),
}


@pytest.mark.parametrize("form", FORMS)
async def test_every_cut(form: str) -> None:
    """A request that comes in two packets, cut anywhere, or byte by byte is answered as the whole one."""
    data, statuses, ends = FORMS[form]
    line = Line()
    await line.send(data)
    assert (line.statuses, line.is_ended) == (statuses, ends)
    await line.close()
    whole = await answers(data)
    assert await answers(*(bytes([byte]) for byte in data)) == whole
    for at in range(1, len(data)):
        assert await answers(data[:at], data[at:]) == whole, (data[:at], data[at:])


@pytest.mark.parametrize("form", [form for form in FORMS if form.startswith(("h2c", "websocket"))])
async def test_offers_of_another_protocol(form: str) -> None:
    """A request that offers another protocol is answered as the same one without the offer, but for its headers."""
    data = FORMS[form][0]
    line, plain = Line(), Line()
    await line.send(data)
    await plain.send(data.replace(b"Upgrade: h2c\r\n", b"").replace(b"UPGRADE: websocket\r\n", b""))
    assert line.bodies == plain.bodies
    await line.close()
    await plain.close()


@pytest.mark.parametrize("framing", [b"Content-Length: %d\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_a_large_body_with_an_offer(framing: bytes) -> None:
    """An upload that offers another protocol arrives whole."""
    content = bytes(os.urandom(300_000)).replace(b"{", b"").replace(b"}", b"")
    if b"%d" in framing:
        framing, body = framing % len(content), content
    else:
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (content[:9], content[9:])) + b"0\r\n\r\n"
    sent = request(H2C + framing, body) + LIVE
    line = Line()
    await line.send(*(sent[at : at + 65536] for at in range(0, len(sent), 65536)))
    assert line.statuses == [200, 200]
    assert len(line.wire.sent) > len(content)
    await line.close()


@pytest.mark.parametrize("path", [b"/early", b"/v1/full/predict"])
async def test_an_answer_before_the_body(path: bytes) -> None:
    """A client that waits for 100 Continue and is refused may leave its body out: the connection ends."""
    line = Line()
    await line.send(request(b"Expect: 100-continue\r\nContent-Length: 1000\r\n", path=path))
    assert line.statuses in ([401], [429])
    assert b"connection: close\r\n" in line.wire.sent
    assert line.is_ended
    await line.send(LIVE)
    assert len(line.statuses) == 1
    await line.close()


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


async def test_pipelined_requests_wait_unparsed() -> None:
    """While one of many pipelined requests is answered, few are parsed; all are answered in the end."""
    num_requests, most = 2_000, 0
    line = Line()
    line.connection.data_received(b"".join(request(path=b"/%d" % n, method=b"GET") for n in range(num_requests)))
    while line.wire.sent.count(b"HTTP/1.1 200") < num_requests:
        most = max(most, len(line.connection.pipeline))
        await asyncio.sleep(0)
    assert 0 < most < 200
    assert [body["path"] for body in line.bodies] == [f"/{n}" for n in range(num_requests)]
    assert not line.wire.is_paused
    await line.close()


@pytest.mark.parametrize("fault", [b"HEAD / HTTP/1.1\r\n\r\n", b"HEAD / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000])
async def test_answers_to_head_have_no_body(fault: bytes) -> None:
    """An error that the connection itself answers to HEAD has no body, and still its length."""
    line = Line()
    await line.send(fault)
    assert line.wire.sent.endswith(b"\r\n\r\n")
    assert b"content-length: " in line.wire.sent
    await line.close()


@pytest.mark.parametrize("form", FORMS)
async def test_errors_are_counted_once(form: str) -> None:
    """A request that the connection itself refuses is counted under its error_type, once."""
    data, statuses, _ = FORMS[form]
    line = Line()
    await line.send(data)
    own = {400: "malformed_http", 501: "not_implemented"}
    broken = form == "malformed chunk"  # which the route answers, logs and counts
    assert {k: v for k, v in line.errors().items() if k != "overloaded"} == {
        own[status]: 1 for status in statuses if status in own and not broken
    }
    for body in line.bodies:
        assert "error" not in body or set(body) - {"reason"} == {"error", "error_type"}
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
