"""RequestCycle: one request and its response, between a connection and the application."""

from collections.abc import Callable, Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE, RequestResponseCycle

from service.errors import ServiceError
from service.server.connection.transport import CoalescingTransport

_CONSTANT = frozenset({b"content-type", b"cache-control", b"x-content-type-options"})  # names of fields with few values
_MAX_LINES = 256
_lines: dict[tuple[bytes, bytes], bytes] = {}  # of these fields, checked and encoded


class RequestCycle(RequestResponseCycle):
    """uvicorn's request and response, with some differences.

    If a body ends in a fault, the application receives http.disconnect with the fault as `error`, and its response is
    still sent. A response before `100 Continue` ends the connection, since the client may then omit the body. A
    response whose length is known is written at once, head and body together. The application may take a body that has
    arrived, and be called back when the client leaves: both are faster than `receive`.
    """

    transport: CoalescingTransport
    fault: ServiceError | None = None
    keeps_alive_later = False  # becomes `keep_alive` once the application asks for the body
    _head: bytes | None = None  # of the response, until its body is sent
    _when_client_leaves: Callable[[], None] | None = None

    async def receive(self) -> Any:
        """Return the next ASGI message."""
        if self.keeps_alive_later:
            self.keeps_alive_later, self.keep_alive = False, True
        message = await super().receive()
        if self.fault is not None:
            return {"type": "http.disconnect", "error": self.fault}
        return message

    def take_body(self) -> bytes | None:
        """Return the body; None if not all of it has arrived, or something else happened: `receive` tells then."""
        if self.more_body or self.waiting_for_100_continue or self.disconnected or self.response_complete:
            return None
        if self.fault is not None or self.keeps_alive_later:
            return None
        self.flow.resume_reading()
        self.message_event.clear()
        body, self.body = bytes(self.body), bytearray()
        return body

    def watch_client(self, left: Callable[[], None] | None) -> None:
        """Call `left` once if the client leaves before its response is complete; None ends the watch."""
        self._when_client_leaves = left
        if self.disconnected:
            self.report_client_left()

    def report_client_left(self) -> None:
        """Handle the end of the connection before that of the response."""
        left, self._when_client_leaves = self._when_client_leaves, None
        if left is not None:
            left()

    async def send(self, message: Any) -> None:
        """Handle an ASGI message of the application."""
        if not self.response_started:
            if message["type"] == "http.response.start" and self._hold_head(
                message["status"], message.get("headers", ())
            ):
                return
        elif self._head is not None:
            head, self._head = self._head, None
            body = message.get("body", b"")
            is_whole = not message.get("more_body", False) and len(body) == self.expected_content_length
            if is_whole and not self.flow.write_paused and not self.disconnected:
                self.transport.write_now(head + body)
                self._complete()
                return
            self.transport.write(head)
        await super().send(message)

    def break_body(self, fault: ServiceError) -> None:
        """End the body with `fault`; the connection ends with the response."""
        self.fault, self.keep_alive, self.keeps_alive_later = fault, False, False
        self.message_event.set()

    def _hold_head(self, status: int, fields: Iterable[tuple[bytes, bytes]]) -> bool:
        """Encode the head, and keep it for the body. Return False if uvicorn must write it: its length is unknown."""
        if self.access_log or status in (204, 304) or self.scope["method"] == "HEAD":
            return False
        lines, length = [STATUS_LINE[status]], None
        for field in (*self.default_headers, *fields):
            line = _lines.get(field)
            if line is None:
                name = field[0].lower()
                if name == b"content-length":
                    length = int(field[1])
                elif name in (b"transfer-encoding", b"connection"):
                    return False
                line = _encode(name, field)
            lines.append(line)
        if length is None:
            return False
        lines.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        self._head = b"".join(lines)
        self.expected_content_length, self.chunked_encoding = length, False
        self.response_started, self.waiting_for_100_continue = True, False
        return True

    def _complete(self) -> None:
        self.expected_content_length = 0
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def _encode(name: bytes, field: tuple[bytes, bytes]) -> bytes:
    """Return the line of a field. Raises RuntimeError, as uvicorn does, if it would break the head."""
    if HEADER_RE.search(name):
        raise RuntimeError("invalid name of a header field")
    if HEADER_VALUE_RE.search(field[1]):
        raise RuntimeError("invalid value of a header field")
    line = b"%b: %b\r\n" % (name, field[1])
    if name in _CONSTANT and len(_lines) < _MAX_LINES:
        _lines[field] = line
    return line
