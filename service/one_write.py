"""A transport that sends what is written in one turn of the loop at once: head and body of an answer in one packet.

uvicorn writes them one after the other, and uvloop sends each write as it comes: two system calls, and a client that
is woken twice.
"""

import asyncio
from typing import Any


class OneWrite(asyncio.Transport):
    """Stands for `transport`."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport, self._loop = transport, loop
        self._held: list[bytes | bytearray | memoryview] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send it before the loop turns."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def close(self) -> None:
        """After everything that was written is sent."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """At once."""
        self._held.clear()
        self._transport.abort()

    def is_closing(self) -> bool:
        """Of `transport`."""
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        """Of `transport`."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Of `transport`."""
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Of `transport`."""
        return self._transport.get_extra_info(name, default)

    def _flush(self) -> None:
        held, self._held = self._held, []
        if held:
            self._transport.write(b"".join(held))
