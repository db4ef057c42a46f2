"""The address of a client: that of its socket, or the one that a trusted proxy names in X-Forwarded-For."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

_MAX_LENGTH = 64  # of the text of an address, including a zone
_SCHEMES = {b"http": "http", b"https": "https"}


class ForwardedHeaders:
    """Reads X-Forwarded-For and X-Forwarded-Proto of the proxies in `trusted`, written as in FORWARDED_ALLOW_IPS."""

    def __init__(self, trusted: str) -> None:
        self._trusted = ProxyHeadersMiddleware(_no_app, trusted).trusted_hosts

    def trusts(self, peer: str | None) -> bool:
        """Return whether `peer`, the address of a socket, is a trusted proxy."""
        return peer in self._trusted

    def client(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Return the client's IP address in its usual form; None if the headers name no valid one."""
        named = [value for name, value in headers if name == b"x-forwarded-for"]
        if not named:
            return None
        return normal_address(self._trusted.get_trusted_client_address(b",".join(named).decode("latin-1"))[0])

    def scheme(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Return the scheme of the client's request, http or https; None if the headers name neither."""
        named = [value for name, value in headers if name == b"x-forwarded-proto"]
        return _SCHEMES.get(named[-1].strip()) if named else None


@lru_cache(maxsize=1024)
def _normal(text: str) -> str | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def normal_address(text: str) -> str | None:
    """Return an IP address in its usual form, without a zone and with mapped IPv4 unmapped; None for other text."""
    return _normal(text) if len(text) <= _MAX_LENGTH else None


@lru_cache(maxsize=8)
def forwarded_headers(trusted: str) -> ForwardedHeaders:
    """Return the reader for this setting, which all connections share."""
    return ForwardedHeaders(trusted)


async def _no_app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Fill the middleware's argument for an application: only its parsing of `trusted` is used."""
