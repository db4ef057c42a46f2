"""A server that does nothing but HTTP/1.1: the least that a request costs.

    python -m benchmarks.serving.http_floor NAME

`protocol` is an asyncio protocol that finds the end of the request and writes a fixed answer; `uvicorn` is uvicorn with
an application that reads the body and sends a fixed answer. Both run on uvloop, on a free port of 127.0.0.1.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import httptools
import uvicorn
import uvloop
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

BODY = (
    b'{"task":"task-0000","version":1,"digest":"' + b"0" * 64 + b'","predictions":[{"label":"yes","score":0.73,'
    b'"scores":{"no":0.27,"yes":0.73},"truncated":false,"tokens":28}],"timings_ms":{"tokenize":0.1,"queue":0.1,'
    b'"inference":0.1}}'
)
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\ncontent-type: application/json\r\n\r\n%b" % (len(BODY), BODY)


class FixedAnswers(asyncio.Protocol):
    """Parses requests with httptools, as the server does, and answers each with ANSWER."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # of TCP
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Answer one request."""
        self._transport.write(ANSWER)


async def answer(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Answer a request of any method and path, as an ASGI application."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body", False):
        pass
    fields = [(b"content-length", str(len(BODY)).encode()), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})  # type: ignore[typeddict-item]
    await send({"type": "http.response.body", "body": BODY})  # type: ignore[typeddict-item]


async def serve_protocol() -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(FixedAnswers, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def serve_uvicorn() -> None:
    """Serve until the process is ended."""
    server = uvicorn.Server(uvicorn.Config(answer, log_level="error", lifespan="off", access_log=False, ws="none"))
    listening = await asyncio.to_thread(_listen)
    print(listening.getsockname()[1], flush=True)
    await server.serve(sockets=[listening])


def _listen() -> Any:
    import socket

    return socket.create_server(("127.0.0.1", 0), backlog=2048)


FLOORS: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {"protocol": serve_protocol, "uvicorn": serve_uvicorn}

if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(FLOORS[sys.argv[1]]())
