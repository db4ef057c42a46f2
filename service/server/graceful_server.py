"""A uvicorn server that loses no request at its end.

uvicorn alone closes accepted connections that it has not read from yet (Kludex/uvicorn#2757), and the kernel resets
those that it has not accepted.
"""

import array
import asyncio
import contextlib
import ctypes
import fcntl
import math
import os
import socket
import struct
import sys
import termios
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from service.server.connection import Connection
from service.settings import Settings

KEEP_ALIVE_S = 75  # longer than the 60 s that proxies usually keep idle connections: the proxy closes them first
SETTLE_S = 0.1  # for requests that are on their way when the last connection is accepted
MAX_SETTLES = 10
LAST_RESPONSES_S = 1.0  # for the 503 responses to requests that were cancelled
_SO_ATTACH_FILTER = 26  # a socket option of Linux that Python does not name
_DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)  # a packet filter of one instruction: accept 0 bytes


class GracefulServer(uvicorn.Server):
    """Ends when `should_exit` is set. The caller handles signals."""

    def __init__(self, app: ASGIApp, settings: Settings, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                http=Connection,
                proxy_headers=False,  # service.server.connection reads them
                ws="none",
                # The supervisor logs start and end of the whole server; those of each process are for debugging.
                log_level="warning" if settings.log_level == "info" else settings.log_level,
                log_config=None,  # service.observability.logs configures all loggers
                access_log=False,  # service.observability.access_log writes it
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=math.ceil(settings.shutdown_timeout_s),
                server_header=False,
            )
        )

        self.is_listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        self.is_listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse new clients, answer requests that have arrived, close idle connections, wait for the rest."""
        for server in self.servers:
            for listening in server.sockets:
                _refuse(listening.fileno())
        for _ in range(MAX_SETTLES):
            await asyncio.sleep(SETTLE_S)
            if not any(map(_has_unread, self.server_state.connections)):
                break
        await super().shutdown(sockets)
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=LAST_RESPONSES_S)


def _refuse(listening: int) -> None:
    """Drop packets of new clients, so that none joins the accept queue while it is emptied.

    On systems without packet filters, a client that connects in the last millisecond is reset.
    """
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(_DROP_ALL)
    option = struct.pack("HP", 1, ctypes.addressof(program))
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(listening)) as copy:
        copy.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)


def _has_unread(connection: object) -> bool:
    """Return whether the kernel holds unread bytes of an idle connection."""
    cycle = getattr(connection, "cycle", None)
    transport: asyncio.Transport | None = getattr(connection, "transport", None)
    if transport is None or transport.is_closing() or (cycle is not None and not cycle.response_complete):
        return False
    num_bytes = array.array("i", [0])
    fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.FIONREAD, num_bytes)
    return num_bytes[0] > 0
