"""The address and the key of a server, checked; and the errors of the connection to it."""

from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx

from .errors import AdaKronError, InvalidArgument, TimedOut, Unreachable


def connection_options(url: str, key: str | None) -> dict[str, Any]:
    """Return the arguments of httpx.Client and httpx.AsyncClient. Raises InvalidArgument."""
    url = url.strip().rstrip("/")
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InvalidArgument(f"{url!r} is not the URL of a server: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidArgument(f"{url!r} is not the URL of a server, such as http://127.0.0.1:8000")
    key = clean_key(key or "")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return {"base_url": url, "headers": headers, "trust_env": not is_local(url)}


def clean_key(key: str) -> str:
    """Return `key` without white space around it, since files and secrets end in a newline. Raises InvalidArgument."""
    key = key.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidArgument("this key contains white space or characters outside printable ASCII: copy it again")
    return key


def is_local(url: str) -> bool:
    """Return whether `url` names this machine (localhost, 127.0.0.0/8 or ::1), which no proxy serves."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a host name, or not a URL
        return False


def connection_error(error: httpx.RequestError, url: str) -> AdaKronError:
    """Turn an error of httpx into TimedOut or Unreachable."""
    late = isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout | httpx.PoolTimeout)
    kind = TimedOut if late else Unreachable
    raised = kind(f"no answer from {url}: {str(error) or type(error).__name__}")
    raised.__cause__ = error
    return raised
