"""A TCP proxy that can be as dead, as frozen or as slow as a database server."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHUNK_BYTES = 64 * 1024


class TcpProxy:
    """Listens on `port` of 127.0.0.1 and forwards everything to `server`, both ways."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.delay_s = 0.0  # of each chunk; may be set at any time
        self._server = server
        self._asking, self._answering = threading.Event(), threading.Event()
        self.thaw()
        self._sockets: list[socket.socket] = []
        self._pumps: list[threading.Thread] = []
        self.port = 0  # any
        self.revive()

    def freeze(self) -> None:
        """Accept and acknowledge, but forward nothing, like a server whose processes are stopped."""
        self._asking.clear()
        self._answering.clear()

    def withhold_answers(self) -> None:
        """Forward requests to the server, but no answers to the clients."""
        self._answering.clear()

    def thaw(self) -> None:
        """Forward again, including the data held back."""
        self._asking.set()
        self._answering.set()

    def kill(self) -> None:
        """Close every connection, and refuse new ones."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self.thaw()
        for end in self._sockets:
            with suppress(OSError):  # closed by its other end
                end.shutdown(socket.SHUT_RDWR)
        for pump in self._pumps:
            pump.join()
        for end in (self._listening, *self._sockets):
            end.close()
        self._sockets, self._pumps = [], []

    def revive(self) -> None:
        """Listen again, on the same port."""
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listening.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:  # killed
                return
            server = socket.create_connection(self._server)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [client, server]
            for way in ((client, server, self._asking), (server, client, self._answering)):
                self._pumps.append(threading.Thread(target=self._pump, args=way))
                self._pumps[-1].start()

    def _pump(self, source: socket.socket, target: socket.socket, passing: threading.Event) -> None:
        with suppress(OSError):  # one end is gone
            while data := source.recv(CHUNK_BYTES):
                time.sleep(self.delay_s)
                passing.wait()
                target.sendall(data)
        with suppress(OSError):
            passing.wait()
            target.shutdown(socket.SHUT_WR)


@contextmanager
def proxied(server: tuple[str, int]) -> Iterator[TcpProxy]:
    """Yield a proxy to `server`, and end it."""
    proxy = TcpProxy(server)
    try:
        yield proxy
    finally:
        proxy.kill()
