"""The body of a request: its limits."""

import asyncio
from collections.abc import Iterable

import pytest
from fastapi import Request

from service.api.http.body import BodyLimits, JsonRequest, read_body
from service.errors import BodyCut, BodyTimeout, BodyTooLarge

LIMITS = BodyLimits(max_bytes=10, timeout_s=0.2)
Message = dict[str, object]


def a_request(messages: Iterable[Message], headers: dict[str, str] | None = None) -> Request:
    """A request whose messages come one after the other; then it is silent for ever."""
    waiting = list(messages)

    async def receive() -> Message:
        if not waiting:
            await asyncio.sleep(3600)
        return waiting.pop(0)

    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return Request({"type": "http", "headers": raw}, receive)


def chunk(body: bytes, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_chunks_are_joined() -> None:
    """The body is all its chunks, up to the cap."""
    assert await read_body(a_request([chunk(b"01234"), chunk(b"56789", more=False)]), LIMITS) == b"0123456789"


async def test_too_large_by_declaration() -> None:
    """A Content-Length over the cap is refused before a byte is read."""
    with pytest.raises(BodyTooLarge):
        await read_body(a_request([], {"content-length": "11"}), LIMITS)


async def test_too_large_by_chunks() -> None:
    """A body that declares nothing, or less than it sends, is refused at the first byte too many."""
    with pytest.raises(BodyTooLarge):
        await read_body(a_request([chunk(b"x" * 6), chunk(b"x" * 5), chunk(b"never read")]), LIMITS)


async def test_too_slow() -> None:
    """A body that does not come to its end in time is given up, though bytes keep coming."""
    with pytest.raises(BodyTimeout):
        await read_body(a_request([chunk(b"x")]), LIMITS)


async def test_cut() -> None:
    """A client that leaves in the middle has sent nothing."""
    with pytest.raises(BodyCut):
        await read_body(a_request([chunk(b"x"), {"type": "http.disconnect"}]), LIMITS)


async def test_a_parsed_body_stays_readable() -> None:
    """A request whose body has been parsed returns its bytes and its value, as often as they are read."""
    request = JsonRequest(a_request([]), b"[1]", [1])
    for _ in range(2):
        assert await request.body() == b"[1]"
        assert await request.json() == [1]
