"""Header fields: those that every answer carries, the request's id, and quality values."""

import random
import re
from collections.abc import Iterable

RawHeaders = tuple[tuple[bytes, bytes], ...]

REQUEST_ID_HEADER = b"x-request-id"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:=+/@-]{1,128}")
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
_CONSOLE_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)

NOT_STORED: RawHeaders = (_NO_SNIFFING, (b"cache-control", b"no-store"))
_FILE: RawHeaders = (
    _NO_SNIFFING,
    (b"cache-control", b"no-cache"),  # browsers revalidate by ETag each time, so that an upgrade shows at once
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_DOCS: RawHeaders = (*_FILE, (b"content-security-policy", b"frame-ancestors 'none'"))
_CONSOLE: RawHeaders = (
    *_FILE,
    (b"content-security-policy", _CONSOLE_POLICY.encode("ascii")),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_PAGES = {"console": _CONSOLE, "docs": _DOCS, "static-offline-docs": _DOCS, "openapi.json": _FILE}


def answer_headers(path: str) -> RawHeaders:
    """Return the headers of an answer to `path` (without prefix) that tell browsers and caches how to treat it.

    A path outside of the console and the documentation may answer with users' content, so it is never stored.
    """
    return _PAGES.get(path[1:].partition("/")[0], NOT_STORED)


def header_lines(headers: RawHeaders) -> bytes:
    """Encode `headers` as HTTP/1.1 header lines."""
    return b"".join(b"%b: %b\r\n" % header for header in headers)


def find_request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the client's X-Request-Id from raw ASGI headers, or a new random id of 32 hex digits.

    A client's id is taken only if it has 1 to 128 characters of a safe set.
    """
    for name, value in headers:
        if name == REQUEST_ID_HEADER:
            if _REQUEST_ID.fullmatch(value):
                return value.decode("ascii")
            break
    return f"{random.getrandbits(128):032x}"


def quality(header: str, name: str) -> float:
    """Return the greatest quality value, 0 to 1, that `header` gives exactly to `name` (RFC 9110, section 12.4.2).

    `header` is the value of Accept or Accept-Encoding. The quality is 0 if `name` is missing or its q is unreadable.
    """
    best = 0.0
    for entry in header.split(","):
        value, *parameters = (part.strip().lower() for part in entry.split(";"))
        if value != name:
            continue
        weight = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        best = max(best, float(weight) if weight.replace(".", "", 1).isdecimal() and weight.isascii() else 0.0)
    return min(best, 1.0)
