"""Bytes written in one turn of the loop are sent at once, in order."""

import asyncio
from typing import Any

import pytest

from service.server.connection import transport as transport_module
from service.server.connection.transport import CoalescingTransport


class Recording(asyncio.Transport):
    """Records its calls; like uvloop's transport it raises once it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[bytes | str] = []

    def tell(self, what: bytes | str) -> None:
        if self.is_closing():
            raise RuntimeError("the handler is closed")
        self.told.append(what)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.tell(bytes(data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.tell("eof")

    def pause_reading(self) -> None:
        self.tell("pause")

    def resume_reading(self) -> None:
        self.tell("resume")

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return bool({"close", "abort"} & set(self.told))

    def close(self) -> None:
        self.told.append("close")

    def abort(self) -> None:
        self.told.append("abort")


def transport_of(recording: Recording, *, expects_input: bool = False) -> CoalescingTransport:
    return CoalescingTransport(recording, asyncio.get_running_loop(), lambda: expects_input)


async def test_head_and_body_go_together() -> None:
    """Nothing is sent while the turn lasts; then everything, in one piece; and so again in the next turn."""
    recording = Recording()
    transport = transport_of(recording)
    for number in range(2):
        transport.write(b"head")
        transport.write(b"body")
        assert len(recording.told) == number
        await asyncio.sleep(0)
    assert recording.told == [b"headbody"] * 2


async def test_what_was_written_goes_before_the_end() -> None:
    """A connection that is closed sends what it was given; one that is aborted does not."""
    for end, told in (("close", [b"last", "close"]), ("abort", ["abort"])):
        recording = Recording()
        transport = transport_of(recording)
        transport.write(b"last")
        getattr(transport, end)()
        await asyncio.sleep(0)
        assert recording.told == told


@pytest.mark.parametrize("is_lost_first", [False, True])
@pytest.mark.parametrize("act", ["write", "write_prefix", "close", "abort", "pause_reading", "resume_reading"])
async def test_after_the_end(act: str, is_lost_first: bool) -> None:
    """No call on a connection whose client has left does or raises anything."""
    recording = Recording()
    transport = transport_of(recording)
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    arguments = [b"x"] if act == "write" else []
    if not is_lost_first:
        transport.write(b"on its way when the client leaves")
    recording.told.append("close")
    getattr(transport, act)(*arguments)
    transport.hold_reading(True)
    transport.hold_reading(False)
    await asyncio.sleep(0)
    assert recording.told in (["close"], ["close", "abort"])
    assert failures == []


async def test_a_client_that_may_still_send(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection whose client may still be sending is half-closed first, and read until it ends or time is over."""
    monkeypatch.setattr(transport_module, "LINGER_S", 0.01)
    recording = Recording()
    transport = transport_of(recording, expects_input=True)
    transport.pause_reading()
    transport.write(b"last")
    transport.close()
    transport.write(b"more")
    assert transport.is_closing()
    assert recording.told == ["pause", b"last", "resume", "eof"]
    await asyncio.sleep(0.1)
    assert recording.told == ["pause", b"last", "resume", "eof", "close"]


async def test_two_reasons_not_to_read() -> None:
    """Reading goes on when neither the flow control nor the reader of requests forbids it."""
    recording = Recording()
    transport = transport_of(recording)
    transport.pause_reading()
    transport.hold_reading(True)
    transport.resume_reading()
    assert recording.told == ["pause"]
    transport.hold_reading(False)
    assert recording.told == ["pause", "resume"]


async def test_an_answer_that_has_begun() -> None:
    """Bytes sent ahead of an answer are not sent again."""
    recording = Recording()
    transport = transport_of(recording)
    transport.write_prefix()
    transport.write_prefix()
    await asyncio.sleep(0)
    transport.write(b"HTTP/1.1 200 OK\r\n")
    transport.write(b"HTTP/1.1 ")
    await asyncio.sleep(0)
    assert recording.told == [b"HTTP/1.1 ", b"200 OK\r\nHTTP/1.1 "]


async def test_a_client_that_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that takes no byte of its answer for a while is cut off; one that is only slow is not."""
    monkeypatch.setattr(transport_module, "STALL_S", 0.01)
    recording = Recording()
    sizes = iter([9, 8, 7, 7])
    monkeypatch.setattr(recording, "get_write_buffer_size", lambda: next(sizes, 7))
    transport = transport_of(recording)
    transport.watch_stall()
    transport.watch_stall()
    await asyncio.sleep(0.1)
    assert recording.told == ["abort"]
