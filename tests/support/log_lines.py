"""The log of a server in the test's own process, and requests written by hand."""

import json
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from service.observability.logs import written_by
from service.settings import Settings
from tests.support.serving import Listening

MARKER = "Xylophone-Zebra-42"


@contextmanager
def written(**settings: Any) -> Iterator[list[str]]:
    """Yield the lines in the log of a server with these settings."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(handler.format(record))  # type: ignore[method-assign]
    handler.addFilter(lambda record: not record.name.startswith("httpx"))  # the client's, in the same process
    with written_by(handler, Settings(**{"log_format": "json", "log_level": "info"} | settings)):
        yield lines


def access(lines: list[str]) -> list[dict[str, Any]]:
    """The requests' own lines."""
    found = [json.loads(line) for line in lines]
    return [line for line in found if line["logger"] == "service.access"]


def malformed(server: Listening) -> tuple[int, bytes]:
    """Return the answer to bytes that are not HTTP."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(f"{MARKER} / HTTP/9\r\n\r\n".encode())
        head, _, body = b"".join(iter(lambda: connection.recv(4096), b"")).partition(b"\r\n\r\n")
    assert b"x-request-id: " in head
    return int(head.split()[1]), body
