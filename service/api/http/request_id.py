"""The name of a request: the header X-Request-Id, of the client's if it is a proper one, and of every answer."""

import random
import re
from collections.abc import Iterable

RAW_HEADER = b"x-request-id"
_PROPER = re.compile(rb"[A-Za-z0-9._:=+/@-]{1,128}")


def request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The one in these raw ASGI headers, or a new one of 32 hex digits: unlike any other, but no secret."""
    for name, value in headers:
        if name == RAW_HEADER:
            if _PROPER.fullmatch(value):
                return value.decode("ascii")
            break
    return f"{random.getrandbits(128):032x}"
