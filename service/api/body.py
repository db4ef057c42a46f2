"""The body of a request: read once, under a cap on its bytes and on its time, before anything else looks at it.

FastAPI's own `max_body_size` answers in plain text, and nothing can change that answer; of time it knows nothing.
"""

import asyncio
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import Message

from service.errors import BodyCut, BodyTimeout, BodyTooLarge


@dataclass(frozen=True)
class BodyLimits:
    """What a body may cost."""

    max_bytes: int
    timeout_s: float | None  # None: somebody else looks at the time


async def read_body(request: Request, limits: BodyLimits) -> bytes:
    """The whole body. Raises BodyTooLarge (declared or chunked), BodyTimeout, BodyCut where the client left, or what
    the connection found wrong with the body."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > limits.max_bytes:
        raise _too_large(limits)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.timeout_s):
            while True:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise message.get("error") or BodyCut("the client left before its body had come")
                body += message.get("body", b"")
                if len(body) > limits.max_bytes:
                    raise _too_large(limits)
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise BodyTimeout(f"the body did not come within {limits.timeout_s:g} s (ADAKRON_BODY_TIMEOUT_S)") from None


def with_body(request: Request, body: bytes) -> Request:
    """`request` as it was before its body was read: whoever reads it next gets `body`."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else await request.receive()

    return Request(request.scope, receive)


def _too_large(limits: BodyLimits) -> BodyTooLarge:
    return BodyTooLarge(f"the body is over {limits.max_bytes} bytes (ADAKRON_MAX_BODY_BYTES, ADAKRON_MAX_UPLOAD_BYTES)")
