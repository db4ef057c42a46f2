"""How long a client gives its prediction: the header X-Request-Timeout-Ms."""

import re
from collections.abc import Iterable
from typing import Any

from service.errors import InvalidInput
from service.settings import Settings

HEADER = "X-Request-Timeout-Ms"
_RAW_HEADER = HEADER.lower().encode()
_MILLISECONDS = re.compile(rb"[1-9][0-9]{0,14}")


def time_limit_s(headers: Iterable[tuple[bytes, bytes]], settings: Settings) -> float:
    """Seconds from arrival in which to answer a request with these raw ASGI headers. Raises InvalidInput."""
    for name, value in headers:
        if name == _RAW_HEADER:
            if not _MILLISECONDS.fullmatch(value):
                raise InvalidInput(f"{HEADER} must be a whole number of milliseconds from 1 on")
            return min(int(value) / 1000, settings.max_request_timeout_s)
    return min(settings.request_timeout_s, settings.max_request_timeout_s)


def time_limit_parameter(settings: Settings) -> dict[str, Any]:
    """How /docs describes the header."""
    return {
        "name": HEADER,
        "in": "header",
        "required": False,
        "description": (
            "Milliseconds from the request's arrival in which to answer; 504 after that. "
            f"By default {settings.request_timeout_s * 1000:g}, at most {settings.max_request_timeout_s * 1000:g}: "
            "more counts as that."
        ),
        "schema": {"type": "integer", "minimum": 1, "maximum": 10**15 - 1},
    }
