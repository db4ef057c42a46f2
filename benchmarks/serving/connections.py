"""HTTP/1.1 client connections that cost next to nothing a request: bytes out, a status in, the body only counted."""

import asyncio
from collections import deque
from collections.abc import Callable

from benchmarks.serving.load import NO_ANSWER

Answered = Callable[[int], None]  # gets the status, or NO_ANSWER
OK = 200
MAX_REFUSALS = 1000  # answers with another status whose bodies are kept
STALE_S = 2.0  # the server may close a connection idle for longer while a request is on its way: it is not used again


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._answered: Answered | None = None
        self._received = b""
        self._wanted = 0  # bytes of the answer; 0: not known yet, -1: up to the last chunk
        self.is_open = False
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # of TCP
        self.is_open = True
        self._pool.opened(self)

    def send(self, request: bytes, answered: Answered) -> None:
        """Send; `answered` is called once."""
        self._answered, self._received, self._wanted = answered, b"", 0
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data if self._received else data
        if self._wanted == 0:
            head_end = received.find(b"\r\n\r\n")
            if head_end < 0:
                return
            head = received[:head_end].lower()
            at = head.find(b"\r\ncontent-length:")
            self._wanted = -1 if at < 0 else head_end + 4 + int(head[at + 17 :].split(b"\r\n", 1)[0])
        if received.endswith(b"\r\n0\r\n\r\n") if self._wanted < 0 else len(received) >= self._wanted:
            answered, self._answered = self._answered, None
            if answered is not None:
                self._pool.free(self)  # before the answer is returned: the next request may follow on this connection
                status = int(received[9:12])
                if status != OK and len(self._pool.refusals) < MAX_REFUSALS:
                    self._pool.refusals.append((status, received.partition(b"\r\n\r\n")[2]))
                answered(status)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._pool.lost(self)
        answered, self._answered = self._answered, None
        if answered is not None:
            answered(NO_ANSWER)

    def close(self) -> None:
        """Close it; a request under way gets NO_ANSWER."""
        self._transport.close()


class Pool:
    """A bounded pool of connections; further requests wait for a free one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, port: int, max_connections: int) -> None:
        self._loop, self._host, self._port, self._max_connections = loop, host, port, max_connections
        self.refusals: list[tuple[int, bytes]] = []  # status and body of the first answers that were not 200
        self._idle: list[Connection] = []  # the one used last at the end, and used first
        self._waiting: deque[tuple[bytes, Answered]] = deque()
        self._num_connections = 0  # open or being opened
        self._opening: set[asyncio.Task[None]] = set()
        self._open: set[Connection] = set()

    async def open(self, number: int) -> None:
        """Have `number` idle connections, so that no request waits for its handshake. Raises OSError."""
        for _ in range(number):
            self._num_connections += 1
            _, connection = await self._loop.create_connection(lambda: Connection(self), self._host, self._port)
            self.free(connection)

    def send(self, request: bytes, answered: Answered) -> None:
        """Send on an idle connection or a new one; `answered` is called exactly once."""
        now = self._loop.time()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and now - connection.idle_since < STALE_S:
                connection.send(request, answered)
                return
            connection.close()
        if self._num_connections < self._max_connections:
            self._open_for(request, answered)
        else:
            self._waiting.append((request, answered))

    def free(self, connection: Connection) -> None:
        """Use `connection` for what waits, or keep it."""
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            connection.idle_since = self._loop.time()
            self._idle.append(connection)

    def opened(self, connection: Connection) -> None:
        """`connection` is there."""
        self._open.add(connection)

    def lost(self, connection: Connection | None) -> None:
        """`connection` is gone, or one could not be opened; what waits gets a new one."""
        if connection is not None:
            self._open.remove(connection)
        self._num_connections -= 1
        if self._waiting:
            self._open_for(*self._waiting.popleft())

    def close(self) -> None:
        """Close everything; requests in flight or waiting get NO_ANSWER."""
        waiting, self._waiting = self._waiting, deque()
        for _, answered in waiting:
            answered(NO_ANSWER)
        for task in self._opening:
            task.cancel()
        for connection in list(self._open):
            connection.close()

    def _open_for(self, request: bytes, answered: Answered) -> None:
        self._num_connections += 1
        task = self._loop.create_task(self._connect(request, answered))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self, request: bytes, answered: Answered) -> None:
        try:
            _, connection = await self._loop.create_connection(lambda: Connection(self), self._host, self._port)
        except (OSError, asyncio.CancelledError):
            self.lost(None)
            answered(NO_ANSWER)
        else:
            connection.send(request, answered)
