"""Bodies in many small chunks: they are taken, and no connection waits long while they are parsed."""

import asyncio

import pytest

from tests.support.connections import LIVE, Line, request


async def test_many_small_chunks() -> None:
    """A body in chunks of one byte is no large trailer."""
    line = Line()
    await line.send(request(b"Transfer-Encoding: chunked\r\n", b"1\r\na\r\n" * 100_000 + b"0\r\n\r\n"))
    assert line.statuses == [200]
    assert len(line.bodies[0]["body"]) == 100_000
    await line.close()


@pytest.mark.parametrize("path", [b"/a", b"/early", b"/v1/full/predict"])
async def test_small_chunks_leave_turns_to_others(path: bytes) -> None:
    """A bounded number of the chunks in one packet is parsed before other connections have their turn."""
    line, num_turns, num_chunks = Line(), 0, 20_000
    line.connection.data_received(
        request(b"Transfer-Encoding: chunked\r\n", b"1\r\na\r\n" * num_chunks + b"0\r\n\r\n" + LIVE, path=path)
    )
    while len(line.statuses) < 2:
        await asyncio.sleep(0)
        num_turns += 1
        assert num_turns < num_chunks
    assert line.statuses == [{b"/a": 200, b"/early": 401, b"/v1/full/predict": 429}[path], 200]
    assert num_turns > num_chunks / 3_000
    await line.close()
