"""The headers that every answer has, good or bad, by its path: what browsers and caches may do with it."""

RawHeaders = tuple[tuple[bytes, bytes], ...]

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
    (b"cache-control", b"no-cache"),  # asked for again with the ETag each time, so that an upgrade is picked up
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
    """Those of an answer to `path`, as the routes have it; without a page of its own it may hold users' content."""
    return _PAGES.get(path[1:].partition("/")[0], NOT_STORED)


def header_lines(headers: RawHeaders) -> bytes:
    """As they are sent in HTTP/1.1."""
    return b"".join(b"%b: %b\r\n" % header for header in headers)
