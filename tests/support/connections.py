"""A connection without a socket: bytes in, bytes out, to an application that says what it was asked."""

import asyncio
import json
import re
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from service.api.http.body import BodyLimits, read_body
from service.api.http.errors import failure_of
from service.errors import Overloaded, ServiceError, Unauthorised
from service.observability.access_log import AccessLog
from service.observability.metrics import Metrics
from service.server.connection import Connection
from service.settings import Settings

LIMITS = BodyLimits(1_000_000, None)
TURNS = 12  # of the loop, in which an answer is surely written
LIVE = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"


def request(
    fields: bytes = b"", body: bytes = b"", method: bytes = b"POST", path: bytes = b"/a", version: bytes = b"1.1"
) -> bytes:
    """Build the bytes of a request."""
    return method + b" " + path + b" HTTP/" + version + b"\r\nHost: x\r\n" + fields + b"\r\n" + body


CHUNKS = b"3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\nTrailer: t\r\n\r\n"
CHUNKED = request(b"Transfer-Encoding: chunked\r\n", CHUNKS)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers what it was asked; /early answers before the body is read."""
    request = Request(scope, receive)
    try:
        if scope["path"] == "/early":
            raise Unauthorised("key_missing", "no key")
        body = await read_body(request, LIMITS)
        fields = {
            "method": scope["method"],
            "path": scope["path"],
            "client": scope["client"],
            "scheme": scope["scheme"],
        }
        headers = [(name.decode(), value.decode("latin-1")) for name, value in scope["headers"]]
        answer = JSONResponse(fields | {"headers": headers, "body": body.decode("latin-1")})
    except ServiceError as error:
        answer = failure_of(error).build_response()
    await answer(scope, receive, send)


class Refusing:
    """A dispatcher that has no room for the task `full`."""

    def check(self, task: str, deadline: float) -> None:
        if task == "full":
            raise Overloaded("no room", 1.0, "queued_requests")


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self, peer: str) -> None:
        super().__init__()
        self.sent = bytearray()
        self.is_closed = self.has_eof = self.is_paused = False
        self.peer = peer

    def write(self, data: Any) -> None:
        assert not self.is_closed
        self.sent += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.has_eof = True

    def close(self) -> None:
        self.is_closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": (self.peer, 40000), "sockname": ("127.0.0.1", 8000)}.get(name, default)


@dataclass
class Line:
    """A client of one connection. Close it in the end."""

    peer: str = "127.0.0.1"
    app: Any = echo
    settings: Settings = field(default_factory=Settings)
    keep_alive_s: int = 75

    def __post_init__(self) -> None:
        config = uvicorn.Config(
            self.app, proxy_headers=False, log_config=None, ws="none", timeout_keep_alive=self.keep_alive_s
        )
        self.metrics = Metrics()
        snapshot = SimpleNamespace(tasks={})
        state: dict[str, Any] = {
            "server": SimpleNamespace(
                settings=self.settings,
                draining=asyncio.Event(),
                access_log=AccessLog(self.settings, self.metrics),
                metrics=self.metrics,
                dispatcher=Refusing(),
                follower=SimpleNamespace(snapshot=snapshot),
            )
        }
        self.uvicorn = ServerState()
        self.connection = Connection(config, self.uvicorn, state, asyncio.get_running_loop())
        self.wire = Wire(self.peer)
        self.connection.connection_made(self.wire)

    async def send(self, *parts: bytes) -> None:
        """Each on its own, as far as the server reads."""
        for part in parts:
            await self._read_on()
            if not self.wire.is_closed:
                self.connection.data_received(part)
            await asyncio.sleep(0)
        await self._read_on()
        for _ in range(TURNS):
            await asyncio.sleep(0)

    async def _read_on(self) -> None:
        while self.wire.is_paused and not self.is_ended:  # noqa: ASYNC110  # a transport has no event for it
            await asyncio.sleep(0)

    @property
    def is_ended(self) -> bool:
        """Whether the server has closed the connection or its side of it."""
        return self.wire.is_closed or self.wire.has_eof

    @property
    def statuses(self) -> list[int]:
        """Status codes of all answers so far."""
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", bytes(self.wire.sent))]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """JSON bodies of all answers so far that have one."""
        return [json.loads(body) for body in re.findall(rb"\{[^\r]*\}", bytes(self.wire.sent))]

    def errors(self) -> dict[str, float]:
        """How many of each error_type the metrics have."""
        samples = [sample for metric in self.metrics.families() for sample in metric.samples]
        return {s.labels["error_type"]: s.value for s in samples if s.name == "adakron_errors_total" and s.value}

    async def close(self) -> None:
        """The client is gone."""
        self.wire.is_closed = True
        self.connection.connection_lost(None)
        if self.uvicorn.tasks:
            await asyncio.wait(self.uvicorn.tasks)


async def answers(*parts: bytes, **options: Any) -> tuple[bytes, bool]:
    """All that is answered, without ids, and whether the connection has ended."""
    line = Line(**options)
    try:
        await line.send(*parts)
        return re.sub(rb"x-request-id: [0-9a-f]{32}\r\n", b"", bytes(line.wire.sent)), line.is_ended
    finally:
        await line.close()
