"""The transport of a connection: sends the head and body of a response in one packet, and lingers on close.

uvicorn writes head and body separately, and uvloop sends each write at once: two system calls, and two wake-ups of the
client. Every call after the end of the connection does nothing.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

LINGER_S = 2.0  # for a client that still sends to read the last response
STALL_S = 60.0  # a connection whose client reads nothing for this long is cut
PREFIX = b"HTTP/1.1 "  # every response begins with these bytes


class CoalescingTransport(asyncio.Transport):
    """Wraps `transport`. `expects_input` says whether the client may still be sending when the connection is closed."""

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, expects_input: Callable[[], bool]
    ) -> None:
        super().__init__()
        self._transport, self._loop, self._expects_input = transport, loop, expects_input
        self._unsent: list[bytes | bytearray | memoryview] = []
        self._has_prefix = False  # the first bytes of the next response are sent
        self._is_ending = False
        self._is_paused = self._is_held = False  # reading: by uvicorn's flow control, by RequestReader
        self._linger: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data` before the next turn of the loop."""
        if self.is_closing():
            return
        if self._has_prefix:
            self._has_prefix = False
            data = bytes(data).removeprefix(PREFIX)
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(data)

    def write_now(self, data: bytes) -> None:
        """Send `data`, a whole response: now if everything before it is sent, which costs less than `write`."""
        if self._unsent or self._has_prefix or self.is_closing():
            self.write(data)
        else:
            self._transport.write(data)

    def write_prefix(self) -> None:
        """Send the first bytes of the next response ahead: if the client is gone, its system answers with a reset."""
        if not self._has_prefix:
            self.write(PREFIX)
            self._has_prefix = True

    def is_reset(self) -> bool:
        """Return whether the client has reset the connection: a transport that has read to the end does not notice."""
        if self.is_closing():
            return True
        with socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno())) as copy:
            return copy.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

    def close(self) -> None:
        """Send what was written, then end the connection.

        If the client may still be sending, its bytes are read and dropped for LINGER_S: closing a socket that has
        unread bytes resets the connection, and the client might lose the response.
        """
        if self.is_closing():
            return
        self._flush()
        lingers = self._expects_input() and self._transport.can_write_eof()
        self._is_ending = True
        if not lingers:
            self._close_now()
            return
        self._is_paused = self._is_held = False
        self._transport.resume_reading()
        self._transport.write_eof()
        self._linger = self._loop.call_later(LINGER_S, self._close_now)

    def abort(self) -> None:
        """End the connection at once; unsent bytes are lost."""
        self._is_ending = True
        self._unsent.clear()
        self._transport.abort()

    def lost(self) -> None:
        """Stop the timers, and forget the connection, after its end."""
        self._is_ending, self._expects_input = True, lambda: False
        for timer in (self._linger, self._stall):
            if timer is not None:
                timer.cancel()

    def is_closing(self) -> bool:
        """Return whether the connection has ended or is about to."""
        return self._is_ending or self._transport.is_closing()

    def watch_stall(self) -> None:
        """Abort the connection once its client reads none of the unsent bytes for STALL_S."""
        if self._stall is None and (num_unsent := self._transport.get_write_buffer_size()):
            self._stall = self._loop.call_later(STALL_S, self._check_stall, num_unsent)

    def pause_reading(self) -> None:
        """Stop reading until `resume_reading`."""
        self._set_reading(True, self._is_held)

    def resume_reading(self) -> None:
        """Resume reading, unless `hold_reading` forbids it."""
        self._set_reading(False, self._is_held)

    def hold_reading(self, is_held: bool) -> None:
        """Stop reading until this is called with False, whatever `resume_reading` says."""
        self._set_reading(self._is_paused, is_held)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See asyncio.BaseTransport."""
        return self._transport.get_extra_info(name, default)

    def _set_reading(self, is_paused: bool, is_held: bool) -> None:
        before, after = self._is_paused or self._is_held, is_paused or is_held
        self._is_paused, self._is_held = is_paused, is_held
        if before == after or self.is_closing():
            return
        if after:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _close_now(self) -> None:
        self._transport.close()
        self.watch_stall()

    def _check_stall(self, num_before: int) -> None:
        self._stall = None
        if self._transport.get_write_buffer_size() < num_before:
            self.watch_stall()
        else:
            self.abort()

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if unsent and not self._transport.is_closing():
            self._transport.write(b"".join(unsent))
