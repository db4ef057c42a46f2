"""Draining: what changes in answers between SIGTERM and the end of the server."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.http.errors import STATUS, Failure
from service.errors import ShuttingDown

_CLOSE = (b"connection", b"close")


class Draining:
    """ASGI middleware: while the server drains, every answer ends its connection, and late requests get 503."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Close the connection after the answer, so that the client's next request goes to another server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        draining: asyncio.Event = scope["state"]["server"].draining
        started = False

        async def send_closing(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if draining.is_set():
                    message = {**message, "headers": [*message.get("headers", ()), _CLOSE]}
            await send(message)

        try:
            await self._app(scope, receive, send_closing)
        except asyncio.CancelledError:  # uvicorn cancels requests after ADAKRON_SHUTDOWN_TIMEOUT_S
            if started or not draining.is_set():
                raise
            status, error_type = STATUS[ShuttingDown]
            failure = Failure(status, "the server ended before the answer was ready", error_type)
            await failure.build_response()(scope, receive, send_closing)
