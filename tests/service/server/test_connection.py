"""Requests on one connection: every form of them, however their bytes are cut, is answered as HTTP says."""

import asyncio
import os

import pytest

from tests.support.connections import CHUNKED, CHUNKS, LIVE, Line, answers, request

H2C = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\nUpgrade: h2c\r\n"
EXPECT = b"Expect: 100-continue\r\n"
FIVE = b"Content-Length: 5\r\n"
LENGTH = request(FIVE, b"hello")
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
