"""RequestCycle: what it writes equals what uvicorn writes, in fewer calls; bodies and clients that leave."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.server.connection.request_cycle import RequestCycle

Messages = list[dict[str, Any]]
FIELDS = [(b"content-type", b"application/json"), (b"x-request-id", b"a-1"), (b"cache-control", b"no-store")]


class Written:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.writes.append(bytes(data))

    write_now = write

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def resume_reading(self) -> None: ...


def cycle_of(kind: type[RequestResponseCycle], *, method: str = "POST", keep_alive: bool = True) -> Any:
    """Return a request whose body has arrived, and its transport as `transport`."""
    transport = Written()
    cycle = kind(
        scope={"method": method, "path": "/"},  # type: ignore[typeddict-item]
        transport=transport,  # type: ignore[arg-type]
        flow=FlowControl(transport),  # type: ignore[arg-type]
        logger=logging.getLogger("test"),
        access_logger=logging.getLogger("test"),
        access_log=False,
        default_headers=[(b"date", b"today")],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=lambda: None,
    )
    cycle.body, cycle.more_body = bytearray(b"{}"), False
    cycle.message_event.set()
    return cycle


async def send_all(cycle: Any, messages: Messages) -> None:
    for message in messages:
        await cycle.send(message)


def start(*fields: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": [*FIELDS, *fields]}


def body(data: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


LENGTH = (b"content-length", b"4")
ANSWERS: dict[str, Messages] = {
    "whole": [start(LENGTH), body(b"data")],
    "upper case": [start((b"Content-Length", b"4")), body(b"data")],
    "in parts": [start(LENGTH), body(b"da", more=True), body(b"ta")],
    "chunked": [start(), body(b"da", more=True), body(b"ta")],
    "empty": [start((b"content-length", b"0")), body(b"")],
    "no content": [start(status=204), body(b"")],
    "closing": [start(LENGTH, (b"connection", b"close")), body(b"data")],
    "error": [start(LENGTH, status=429), body(b"data")],
}


@pytest.mark.parametrize("method", ["POST", "HEAD"])
@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("name", ANSWERS)
async def test_the_bytes_are_those_of_uvicorn(name: str, keep_alive: bool, method: str) -> None:
    """A response has the same bytes, and ends the connection in the same cases; one of known length is one write."""
    ours, reference = (
        cycle_of(kind, method=method, keep_alive=keep_alive) for kind in (RequestCycle, RequestResponseCycle)
    )
    for message in ANSWERS[name]:
        await ours.send(message)
        await reference.send(message)
    assert b"".join(ours.transport.writes) == b"".join(reference.transport.writes)
    assert ours.transport.is_closed == reference.transport.is_closed
    assert ours.response_complete
    assert reference.response_complete
    if name in ("whole", "error", "empty") and method == "POST":
        assert len(ours.transport.writes) == 1


@pytest.mark.parametrize(
    "messages",
    [
        [start(LENGTH), body(b"too long")],
        [start(LENGTH), body(b"x")],
        [start(LENGTH), start(LENGTH)],
        [body(b"data")],
        [start(LENGTH), body(b"data"), body(b"data")],
        [start((b"x-evil", b"a\r\nset-cookie: b"))],
        [start((b"x\r\ny", b"a"))],
    ],
)
async def test_faults_of_the_application_are_refused(messages: Messages) -> None:
    """A wrong length, order or header field raises RuntimeError, as in uvicorn."""
    for kind in (RequestCycle, RequestResponseCycle):
        cycle = cycle_of(kind)
        with pytest.raises(RuntimeError):
            await send_all(cycle, messages)


async def test_nothing_is_written_for_a_client_that_has_left() -> None:
    """The response to it is dropped without an error."""
    cycle = cycle_of(RequestCycle)
    await cycle.send(start(LENGTH))
    cycle.disconnected = True
    await cycle.send(body(b"data"))
    assert b"data" not in b"".join(cycle.transport.writes)


async def test_a_body_that_has_arrived_is_taken_once() -> None:
    """Afterwards `receive` waits for the client to leave, as it does after a body that it has returned."""
    cycle = cycle_of(RequestCycle)
    assert cycle.take_body() == b"{}"
    receiving = asyncio.create_task(cycle.receive())
    await asyncio.sleep(0)
    assert not receiving.done()
    cycle.disconnected = True
    cycle.message_event.set()
    assert (await receiving)["type"] == "http.disconnect"


NOT_WHOLE: dict[str, Callable[[Any], None]] = {
    "more to come": lambda cycle: setattr(cycle, "more_body", True),
    "waits for 100 Continue": lambda cycle: setattr(cycle, "waiting_for_100_continue", True),
    "client left": lambda cycle: setattr(cycle, "disconnected", True),
    "fault": lambda cycle: cycle.break_body(ValueError("cut")),
}


@pytest.mark.parametrize("name", NOT_WHOLE)
async def test_another_body_is_left_to_receive(name: str) -> None:
    """`take_body` gives None for each other state, and changes nothing."""
    cycle = cycle_of(RequestCycle)
    NOT_WHOLE[name](cycle)
    assert cycle.take_body() is None
    assert cycle.body == b"{}"


async def test_the_watch_of_a_client() -> None:
    """The callback comes once when the client leaves, at once if it has left before, and never after the watch."""
    calls: list[str] = []
    cycle = cycle_of(RequestCycle)
    cycle.watch_client(lambda: calls.append("first"))
    cycle.watch_client(None)
    cycle.report_client_left()
    assert calls == []
    cycle.watch_client(lambda: calls.append("second"))
    cycle.report_client_left()
    cycle.report_client_left()
    assert calls == ["second"]
    cycle.disconnected = True
    cycle.watch_client(lambda: calls.append("third"))
    assert calls == ["second", "third"]
