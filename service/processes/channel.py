"""Channel: messages over a Unix socket, between processes of one server, which trust each other."""

import asyncio
import pickle
import socket
import struct
from collections.abc import Callable
from typing import Any, cast

_SIZE = struct.Struct("!Q")


class Channel(asyncio.Protocol):
    """Sends and receives pickled messages, in order; those of one turn of the event loop travel together.

    `handle(message)` is called for each message that arrives, and `closed()` once when the other end is gone or `close`
    was called. An error in `handle` ends the channel.
    """

    def __init__(self, handle: Callable[[Any], None], closed: Callable[[], None]) -> None:
        self._handle, self._closed = handle, closed
        self._outbox: list[object] = []
        self._received = bytearray()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._is_over = False
        self.num_flushes = 0  # messages queued since the last one may still be changed

    @classmethod
    async def connect(cls, end: socket.socket, handle: Callable[[Any], None], closed: Callable[[], None]) -> "Channel":
        """Take over one end of a socket pair."""
        end.setblocking(False)
        _, channel = await asyncio.get_running_loop().create_unix_connection(lambda: cls(handle, closed), sock=end)
        return channel

    def send(self, message: object) -> None:
        """Queue a message, without waiting. After the end of the channel it is dropped."""
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.append(message)

    def close(self) -> None:
        """Close this end once everything is sent."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Handle the start of the connection."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._transport.set_write_buffer_limits(high=1 << 30)  # what waits is bounded by admission
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Handle all messages that have arrived whole."""
        received = self._received
        received += data
        start = 0
        while len(received) - start >= _SIZE.size:
            (size,) = _SIZE.unpack_from(received, start)
            stop = start + _SIZE.size + size
            if len(received) < stop:
                break
            messages = pickle.loads(memoryview(received)[start + _SIZE.size : stop])
            start = stop
            for message in messages:
                self._handle(message)
        if start:
            del received[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        """Handle the end of the connection."""
        self._is_over = True
        self._closed()

    def _flush(self) -> None:
        if self._transport is None:
            return  # `connection_made` sends the messages
        messages, self._outbox = self._outbox, []
        self.num_flushes += 1
        if messages and not self._is_over:
            data = pickle.dumps(messages, protocol=5)
            self._transport.write(b"".join((_SIZE.pack(len(data)), data)))
