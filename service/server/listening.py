"""The uvicorn server, with an end that loses no request that has reached it.

uvicorn alone closes connections that it has accepted and not read from yet (Kludex/uvicorn#2757), and the kernel
resets those that it has not accepted.
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

KEEP_ALIVE_S = 75  # longer than proxies keep idle connections (60 s is usual), so that they are the ones who close
SETTLE_S = 0.1  # for requests on their way when the last connection was accepted
MAX_SETTLES = 10
LAST_ANSWERS_S = 1.0  # to tell those whose requests were given up
_SO_ATTACH_FILTER = 26  # of Linux; Python has no name for it
_DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)  # a packet filter of one instruction: take 0 bytes of it


class ListeningServer(uvicorn.Server):
    """Ends when `should_exit` is set. Signals are the caller's."""

    def __init__(self, app: ASGIApp, settings: Settings, host: str, port: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                http=Connection,
                proxy_headers=False,  # service.server.connection reads them
                ws="none",
                log_level=settings.log_level,
                log_config=None,  # all loggers are logs.py's
                access_log=False,  # service.access is
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=math.ceil(settings.shutdown_timeout_s),
                server_header=False,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None of them."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say where: uvicorn says it only of sockets that it has opened itself."""
        await super().startup(sockets)
        if sockets:
            self._log_started_message(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let nobody in any more, answer what has come, close what is idle, wait for the rest."""
        for server in self.servers:
            for listening in server.sockets:
                _refuse(listening.fileno())
        for _ in range(MAX_SETTLES):
            await asyncio.sleep(SETTLE_S)
            if not any(map(_has_unread, self.server_state.connections)):
                break
        await super().shutdown(sockets)
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=LAST_ANSWERS_S)


def _refuse(listening: int) -> None:
    """Drop what new clients send, so that none gets into the queue while it is being emptied; later they are refused.

    Where the system cannot, a client that connects in the last millisecond is reset.
    """
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(_DROP_ALL)
    option = struct.pack("HP", 1, ctypes.addressof(program))
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(listening)) as copy:
        copy.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)


def _has_unread(connection: object) -> bool:
    """Whether an idle connection holds bytes of a request."""
    cycle = getattr(connection, "cycle", None)
    transport: asyncio.Transport | None = getattr(connection, "transport", None)
    if transport is None or transport.is_closing() or (cycle is not None and not cycle.response_complete):
        return False
    num_bytes = array.array("i", [0])
    fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.FIONREAD, num_bytes)
    return num_bytes[0] > 0
