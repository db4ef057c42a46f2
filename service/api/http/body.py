"""The body of a request: read once, under a cap on its bytes and on its time, before anything else looks at it.

FastAPI's own `max_body_size` answers in plain text, and nothing can change that answer; of time it knows nothing.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.types import Message, Receive

from service.errors import BodyCut, BodyTimeout, BodyTooLarge
from service.settings import Settings


@dataclass(frozen=True)
class BodyLimits:
    """What a body may cost."""

    max_bytes: int
    timeout_s: float | None  # None: the caller limits the time
    max_inputs: int = 0  # of a body in JSON

    @classmethod
    def of(cls, settings: Settings, *, timed: bool = True) -> "BodyLimits":
        """Those of a body in JSON."""
        return cls(settings.max_body_bytes, settings.body_timeout_s if timed else None, settings.max_inputs)


async def read_body(request: Request, limits: BodyLimits) -> bytes:
    """The whole body. Raises BodyTooLarge (declared or chunked), BodyTimeout, BodyCut where the client left, or what
    the connection found wrong with the body."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and (len(declared) > 18 or int(declared) > limits.max_bytes):
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


def read_number(digits: str) -> int | None:
    """The number that a header field or a parameter has; None where it is none, or over 18 digits."""
    return int(digits) if len(digits) <= 18 and digits.isascii() and digits.isdigit() else None


def with_body(request: Request, body: bytes) -> Request:
    """`request` as it was before its body was read."""
    return Request(request.scope, _replay(request, body))


class JsonRequest(Request):
    """A request whose body has been read and parsed: FastAPI validates `value` without parsing it again."""

    def __init__(self, request: Request, body: bytes, value: Any) -> None:
        super().__init__(request.scope, _replay(request, body))
        self._value = value

    async def json(self) -> Any:
        """The value in the body."""
        return self._value


def _replay(request: Request, body: bytes) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else await request.receive()

    return receive


def _too_large(limits: BodyLimits) -> BodyTooLarge:
    return BodyTooLarge(f"the body is over {limits.max_bytes} bytes (ADAKRON_MAX_BODY_BYTES, ADAKRON_MAX_UPLOAD_BYTES)")
