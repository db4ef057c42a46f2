"""URLs of a server by the address and the port that it listens on."""

# Every address of this machine, seen from this machine. `::` includes IPv4, and containers often have no ::1.
_REACHED_AT = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}


def url_of(host: str, port: int) -> str:
    """Where a client on this machine reaches a server that listens on `host`."""
    return f"http://{bracketed(_REACHED_AT.get(host, host))}:{port}"


def bracketed(host: str) -> str:
    """`host` as it stands in a URL, before a port: IPv6 in brackets, its zone with an escaped percent sign."""
    return f"[{host.replace('%', '%25')}]" if ":" in host else host
