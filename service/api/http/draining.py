"""What a server that drains adds to its answers, and what it answers to a request that takes too long for it."""

import asyncio

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.http.errors import STATUS
from service.errors import ShuttingDown
from service.observability.request_context import current_context

_CLOSE = (b"connection", b"close")


class Draining:
    """`app` for the time between SIGTERM and the end; before it nothing is different."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Every answer ends its connection: what a client sends on it later might meet a server that is gone."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        draining: asyncio.Event = scope["state"]["server"].draining
        started = False

        async def send_marked(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if draining.is_set():
                    message = {**message, "headers": [*message.get("headers", ()), _CLOSE]}
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        except asyncio.CancelledError:  # by uvicorn, for it took longer than ADAKRON_SHUTDOWN_TIMEOUT_S
            if started or not draining.is_set():
                raise
            status, error_type = STATUS[ShuttingDown]
            current_context().error_type = error_type
            body = {"error": "the server ended before the answer was there", "error_type": error_type}
            await JSONResponse(body, status)(scope, receive, send_marked)
