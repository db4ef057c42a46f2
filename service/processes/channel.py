"""Channel: messages between two processes of this server, which trust each other."""

import asyncio
import pickle
import socket
import struct
from typing import Any, Self

_SIZE = struct.Struct("!Q")


class Channel:
    """Pickled messages over one end of a socket pair."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, end: socket.socket) -> Self:
        """Of an end that nobody else uses."""
        end.setblocking(False)
        return cls(*await asyncio.open_unix_connection(sock=end))

    def send(self, message: object) -> None:
        """Without waiting; what was sent before comes first."""
        data = pickle.dumps(message, protocol=5)
        self._writer.write(_SIZE.pack(len(data)))
        self._writer.write(data)

    async def receive(self) -> Any:
        """Raises EOFError where the other end is closed."""
        try:
            (size,) = _SIZE.unpack(await self._reader.readexactly(_SIZE.size))
            return pickle.loads(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise EOFError from error

    def close(self) -> None:
        """Once everything is sent."""
        self._writer.close()
