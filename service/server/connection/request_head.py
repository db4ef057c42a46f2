"""Limits and rules for the head of a request."""

import urllib.parse
from collections.abc import Sequence

from httptools import HttpParserInvalidURLError, parse_url
from uvicorn._types import HTTPScope

from service.errors import HeadTooLarge, MalformedHttp, NotImplementedHere

MAX_HEAD_BYTES = 64 * 1024  # request line, header fields and trailer fields of one request
MAX_FIELDS = 100  # header and trailer fields of one request
MAX_TARGET_BYTES = 8 * 1024


def head_too_large() -> HeadTooLarge:
    """Return the error for a head beyond MAX_HEAD_BYTES or MAX_FIELDS."""
    return HeadTooLarge(
        f"the request's head is over {MAX_HEAD_BYTES // 1024} KiB or {MAX_FIELDS} fields; send fewer or shorter ones"
    )


def check_size(target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Raise HeadTooLarge if the head is over MAX_HEAD_BYTES."""
    if len(target) + sum(len(name) + len(value) + 4 for name, value in headers) > MAX_HEAD_BYTES:
        raise head_too_large()


def check_head(method: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Check a complete head; return whether the client waits for `100 Continue`.

    `headers` are (lower-case name, value). Raises HeadTooLarge, MalformedHttp and NotImplementedHere.
    """
    if len(headers) > MAX_FIELDS:
        raise head_too_large()
    if version not in ("1.1", "1.0"):
        raise MalformedHttp("the request's version is neither HTTP/1.1 nor HTTP/1.0")
    if method == b"CONNECT":
        raise NotImplementedHere("this server is not a proxy: it does not implement CONNECT")
    num_hosts, expects_continue = 0, False
    for name, value in headers:
        if name == b"host":
            num_hosts += 1
        elif name == b"transfer-encoding" and value.lower() != b"chunked":
            raise NotImplementedHere("this server implements only one Transfer-Encoding: chunked")
        elif name == b"expect" and value.lower() == b"100-continue":
            expects_continue = version == "1.1"
    if num_hosts > 1:
        raise MalformedHttp(f"the request has {num_hosts} Host headers; it must have one")
    if num_hosts == 0 and version == "1.1":
        raise MalformedHttp("the request has no Host header, which HTTP/1.1 requires")
    return expects_continue


def fill_scope(scope: HTTPScope, method: bytes, version: str, target: bytes, root_path: str) -> None:
    """Set the fields of the ASGI scope that the request line gives. Raises MalformedHttp if the target is not a URL."""
    try:
        parsed = parse_url(target)
    except HttpParserInvalidURLError:
        raise MalformedHttp("the request's target is not a URL") from None
    raw_path = parsed.path or b"/"
    path = raw_path.decode("ascii")
    scope["method"], scope["http_version"] = method.decode("ascii"), version
    scope["path"] = root_path + (urllib.parse.unquote(path) if "%" in path else path)
    scope["raw_path"] = root_path.encode("ascii") + raw_path
    scope["query_string"] = parsed.query or b""
