"""Addresses on the web: a server's URL, the prefix of its paths, and the origins of pages that may call it."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

# Addresses that stand for every interface, as this machine reaches them. `::` includes IPv4; containers often lack ::1.
_REACHED_AT = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}
ANY_ORIGIN = "*"
# First segments of the server's own paths: as a prefix, /v1 could not be told from the route /v1.
OWN_PATHS = {"v1", "v2", "tei", "classify", "admin", "health", "metrics"}
OWN_PATHS |= {"console", "docs", "openapi.json", "static-offline-docs"}
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+", re.ASCII)
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", re.ASCII)
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}  # browsers leave them out


def url_of(host: str, port: int) -> str:
    """Return the URL at which a client on this machine reaches a server that listens on `host`."""
    return f"http://{bracketed(_REACHED_AT.get(host, host))}:{port}"


def bracketed(host: str) -> str:
    """Return `host` as it stands in a URL: IPv6 in brackets, the percent sign of its zone escaped."""
    return f"[{host.replace('%', '%25')}]" if ":" in host else host


def _root_path(value: str) -> str:
    path = value.rstrip("/")
    if path and not path.startswith("/"):
        raise ValueError(f"a path begins with /: write /{path}")
    segments = path.split("/")[1:]
    if not all(_SEGMENT.fullmatch(segment) and segment.strip(".") for segment in segments):
        raise ValueError("a path prefix like /nlp or /teams/nlp, of letters, digits and ._~-")
    if segments and segments[0] in OWN_PATHS:
        raise ValueError(f"/{segments[0]} is a path of the server itself: choose another prefix")
    return path


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _origins(values: tuple[str, ...]) -> tuple[str, ...]:
    if ANY_ORIGIN in values and len(values) > 1:
        raise ValueError("* means every origin: remove the others")
    return tuple(value if value == ANY_ORIGIN else _origin(value) for value in values)


def _origin(value: str) -> str:
    found = _ORIGIN.fullmatch(value.lower())
    if found is None:
        raise ValueError(f"{value!r} is not an origin: write scheme, host and port, such as https://app.example:8443")
    scheme, host, port = found.groups("")
    return f"{scheme}://{host}{'' if port == _DEFAULT_PORTS.get(scheme) else port}"


RootPath = Annotated[str, AfterValidator(_root_path)]
Origins = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_origins)]
