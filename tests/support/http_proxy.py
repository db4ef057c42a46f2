"""A small HTTP proxy with health checks and kept connections, which never sends a request twice."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

PROBE_S = 0.05

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(eq=False)
class Upstream:
    """One server behind the proxy."""

    port: int
    ready: bool = False
    idle: list[Streams] = field(default_factory=list)
    num_requests: int = 0

    async def streams(self) -> Streams:
        """A kept connection, or a new one."""
        while self.idle:
            reader, writer = self.idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self.port)


class HttpProxy:
    """Passes each request on to one of the servers that are ready, in turn."""

    def __init__(self, ports: list[int]) -> None:
        self.upstreams = [Upstream(port) for port in ports]
        self._turn = 0
        self._clients: set[asyncio.Task[None]] = set()

    async def serve_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection, to its end."""
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    request = await _read_message(reader)
                    writer.write(await self._forward(request))
                    await writer.drain()
        except asyncio.CancelledError:
            pass  # the proxy's end
        finally:
            writer.close()

    async def close(self) -> None:
        """End every connection."""
        clients = list(self._clients)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        for upstream in self.upstreams:
            for _, writer in upstream.idle:
                await _closed(writer)

    async def probe(self) -> None:
        """Look at every server, again and again."""
        while True:
            for upstream in self.upstreams:
                upstream.ready = await _is_ready(upstream.port)
            await asyncio.sleep(PROBE_S)

    async def _forward(self, request: bytes) -> bytes:
        ready = [upstream for upstream in self.upstreams if upstream.ready]
        if not ready:
            return b"HTTP/1.1 502 none is ready\r\nContent-Length: 0\r\n\r\n"
        self._turn += 1
        upstream = ready[self._turn % len(ready)]
        upstream.num_requests += 1
        writer = None
        try:
            reader, writer = await upstream.streams()
            writer.write(request)
            answer = await _read_message(reader)
        except BaseException as error:
            if writer is not None:
                writer.close()
            if not isinstance(error, OSError | asyncio.IncompleteReadError):
                raise
            return f"HTTP/1.1 502 {type(error).__name__}\r\nContent-Length: 0\r\n\r\n".encode()
        if re.search(rb"\r\nconnection: close\r\n", answer, re.IGNORECASE):
            writer.close()
        else:
            upstream.idle.append((reader, writer))
        return re.sub(rb"\r\nconnection: close\r\n", b"\r\n", answer, flags=re.IGNORECASE)


async def _read_message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *([0-9]+)\r\n", head, re.IGNORECASE)
    return head + (await reader.readexactly(int(length[1])) if length else b"")


async def _is_ready(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"GET /health/ready HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
        finally:
            writer.close()
    except OSError:
        return False
    return answer.startswith(b"HTTP/1.1 200")


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def http_proxy(ports: list[int]) -> AsyncIterator[tuple[HttpProxy, str]]:
    """A proxy before the servers on `ports`, and its URL."""
    proxy = HttpProxy(ports)
    server = await asyncio.start_server(proxy.serve_client, "127.0.0.1", 0)
    probing = asyncio.create_task(proxy.probe())
    try:
        yield proxy, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        probing.cancel()
        server.close()
        await asyncio.gather(probing, return_exceptions=True)
        await proxy.close()
        await server.wait_closed()
