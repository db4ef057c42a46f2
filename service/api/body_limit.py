"""A cap on the bytes of a request's body, declared or chunked, answered in JSON like every other error.

FastAPI's own `max_body_size` answers in plain text, and nothing can change that answer.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Message

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def limit_body(handle: Handler, max_bytes: int) -> Handler:
    """`handle`, which now raises HTTPException 413 instead of reading more than `max_bytes`."""

    async def limited(request: Request) -> Response:
        declared = request.headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and int(declared) > max_bytes:
            raise _too_large(max_bytes)
        num_read = 0

        async def receive() -> Message:
            nonlocal num_read
            message = await request.receive()
            num_read += len(message.get("body", b""))
            if num_read > max_bytes:
                raise _too_large(max_bytes)
            return message

        return await handle(Request(request.scope, receive))

    return limited


def limited_route(max_bytes: int) -> type[APIRoute]:
    """A route class for routers whose bodies are capped."""

    class LimitedRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            return limit_body(super().get_route_handler(), max_bytes)

    return LimitedRoute


def _too_large(max_bytes: int) -> HTTPException:
    return HTTPException(413, f"the body is over {max_bytes} bytes (ADAKRON_MAX_BODY_BYTES, ADAKRON_MAX_UPLOAD_BYTES)")
