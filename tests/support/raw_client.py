"""A client on a socket: requests as bytes, in packets, and the answers one by one."""

import socket
import time
from dataclasses import dataclass, field

BODY = b'{"inputs": "a good film"}'
LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
WAIT_S = 30


def head(length: str = f"Content-Length: {len(BODY)}", more: str = "", path: str = "/v1/t/predict") -> bytes:
    """Build the head of a prediction; `length` is the field that frames its body."""
    lines = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{length}\r\n{more}\r\n"
    return lines.encode()


REQUEST = head() + BODY


@dataclass
class Answer:
    """An answer to one request."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Client:
    """A connection whose answers are read one by one."""

    port: int
    connection: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self.connection = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S)
        self._file = self.connection.makefile("rb")

    def send(self, *packets: bytes) -> None:
        """Send the packets with a pause before each but the first, so that they arrive one by one."""
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number, packet in enumerate(packets):
            time.sleep(0.02 if number else 0)
            self.connection.sendall(packet)

    def read(self) -> Answer:
        """Read the next answer."""
        status = int(self._file.readline().split()[1])
        headers = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name] = value
        return Answer(status, headers, self._file.read(int(headers.get("content-length", "0"))))

    def ask(self, *packets: bytes) -> Answer:
        """Send, and read one answer."""
        self.send(*packets)
        return self.read()

    @property
    def is_ended(self) -> bool:
        """True if the server has closed the connection and sent nothing more."""
        return self._file.read() == b""

    def close(self) -> None:
        self._file.close()
        self.connection.close()


def make_room(holder: Client) -> None:
    """Send the body that `holder` holds back; its permit becomes free with the answer."""
    assert holder.ask(BODY).status == 200
