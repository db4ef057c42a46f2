"""Channel: messages between two ends of a socket pair."""

import asyncio
import pickle
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.processes.channel import Channel


class End:
    """One end of a channel, with all that has happened to it."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.num_ends = 0
        self.ended = asyncio.Event()
        self.channel: Channel

    def handle(self, message: Any) -> None:
        """Keep the message; an exception is raised."""
        self.messages.append(message)
        if isinstance(message, Exception):
            raise message

    def closed(self) -> None:
        """Count the end."""
        self.num_ends += 1
        self.ended.set()


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[End, End]]:
    """Yield the two ends of a socket pair."""
    ends = End(), End()
    for end, own in zip(ends, socket.socketpair(), strict=True):
        end.channel = await Channel.connect(own, end.handle, end.closed)
    try:
        yield ends
    finally:
        for end in ends:
            end.channel.close()
        async with asyncio.timeout(10):
            await asyncio.gather(*(end.ended.wait() for end in ends))


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.001)


async def test_messages_arrive_in_order() -> None:
    """Those of one turn and of later turns, in both directions at once."""
    async with connected() as (left, right):
        for start in range(0, 1000, 100):
            for number in range(start, start + 100):
                left.channel.send(number)
                right.channel.send(-number)
            await asyncio.sleep(0)
        await until(lambda: len(left.messages) == len(right.messages) == 1000)
        assert right.messages == list(range(1000))
        assert left.messages == [-number for number in range(1000)]


async def test_messages_of_one_turn_travel_together() -> None:
    """They are one pickle, and a message may still be changed until then: `num_flushes` says so."""
    ours, theirs = socket.socketpair()
    end = End()
    channel = await Channel.connect(ours, end.handle, end.closed)
    changed: dict[str, int] = {}
    before = channel.num_flushes
    for message in ("a", changed, "c"):
        channel.send(message)
    assert channel.num_flushes == before
    changed["later"] = 1
    await asyncio.sleep(0)
    assert channel.num_flushes == before + 1
    theirs.settimeout(5)
    data = theirs.recv(65536)
    (size,) = struct.unpack_from("!Q", data)
    assert len(data) == 8 + size
    assert pickle.loads(data[8:]) == ["a", {"later": 1}, "c"]
    theirs.close()
    await end.ended.wait()


async def test_a_message_may_be_cut_anywhere() -> None:
    """Three frames that arrive as any two pieces, or byte by byte, give the same messages once each."""
    frames = b""
    for messages in (["first", 2], ["x" * 40], [{"third": b"\0\xff"}]):
        data = pickle.dumps(messages, protocol=5)
        frames += struct.pack("!Q", len(data)) + data
    expected = ["first", 2, "x" * 40, {"third": b"\0\xff"}]
    cuts = [[cut] for cut in range(len(frames) + 1)] + [list(range(len(frames)))]
    for places in cuts:
        end = End()
        channel = Channel(end.handle, end.closed)
        for start, stop in zip([0, *places], [*places, len(frames)], strict=True):
            channel.data_received(frames[start:stop])
        assert end.messages == expected, places


async def test_a_huge_message() -> None:
    """A message that is far larger than the socket's buffer arrives whole, and the next one behind it."""
    huge = random.Random(0).randbytes(30 << 20)
    async with connected() as (left, right):
        left.channel.send(huge)
        left.channel.send("next")
        await until(lambda: len(right.messages) == 2)
        assert right.messages == [huge, "next"]


async def test_close_sends_what_is_queued() -> None:
    """The other end gets the last messages and then the end, once; later messages are dropped."""
    async with connected() as (left, right):
        left.channel.send("last")
        left.channel.close()
        left.channel.close()
        await until(lambda: bool(right.num_ends and left.num_ends))
        assert right.messages == ["last"]
        right.channel.send("unread")
        left.channel.send("nor this")
        await asyncio.sleep(0.01)
        assert (left.messages, left.num_ends, right.num_ends) == ([], 1, 1)


async def test_the_other_end_is_killed() -> None:
    """A socket that closes in the middle of a message ends the channel, and the part is ignored."""
    ours, theirs = socket.socketpair()
    end = End()
    await Channel.connect(ours, end.handle, end.closed)
    theirs.send(struct.pack("!Q", 1000) + b"a part")
    theirs.close()
    async with asyncio.timeout(10):
        await end.ended.wait()
    assert (end.messages, end.num_ends) == ([], 1)


async def test_an_error_in_handle_ends_the_channel() -> None:
    """No message is handled after the one that failed, and both ends learn of the end."""
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    async with connected() as (left, right):
        for message in ("before", ValueError("refused"), "after"):
            left.channel.send(message)
        await until(lambda: bool(left.num_ends and right.num_ends))
        assert [str(message) for message in right.messages] == ["before", "refused"]
    assert [str(error["exception"]) for error in errors] == ["refused"]


async def test_messages_before_the_connection_wait_for_it() -> None:
    """A message that is sent before `connection_made` is the first to be written."""
    written: list[bytes] = []

    class Transport(asyncio.Transport):
        def write(self, data: Any) -> None:
            written.append(bytes(data))

        def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
            pass

    end = End()
    channel = Channel(end.handle, end.closed)
    channel.send("early")
    await asyncio.sleep(0)
    assert written == []
    channel.connection_made(Transport())
    assert pickle.loads(b"".join(written)[8:]) == ["early"]
    channel.send("late")
    await asyncio.sleep(0)
    assert pickle.loads(written[-1][8:]) == ["late"]


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_on_each_event_loop(kind: str) -> None:
    """An HTTP process runs uvloop where it is installed, the engine process asyncio's own loop."""

    async def exchange() -> None:
        async with connected() as (left, right):
            left.channel.send(["a", b"b" * 10**6])
            right.channel.send("c")
            await until(lambda: bool(left.messages and right.messages))
            assert (left.messages, right.messages) == (["c"], [["a", b"b" * 10**6]])

    factory = pytest.importorskip("uvloop").new_event_loop if kind == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(exchange())
