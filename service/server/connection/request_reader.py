"""Turns the bytes of a connection into requests, with limits on memory and on the time in one turn of the loop."""

import logging
from abc import ABC, abstractmethod
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.errors import MalformedHttp, ServiceError, TargetTooLong
from service.server.connection.idle_timer import IdleTimer
from service.server.connection.request_cycle import RequestCycle
from service.server.connection.request_head import MAX_FIELDS, MAX_HEAD_BYTES, MAX_TARGET_BYTES, head_too_large
from service.server.connection.transport import CoalescingTransport

BETWEEN, HEAD, BODY = range(3)  # where in a request the parser is

_SLICE_BYTES: Final = 4096  # parsed at once; also the most bytes of pipelined requests that wait in a connection
_CHUNK_CREDIT: Final = 16  # bytes of framing that a chunk may take besides twice its data
_CHUNKS_AT_ONCE: Final = 1000  # parsed in one turn of the loop, about 4 ms
_BLANKS: Final = b" \t"
logger = logging.getLogger(__name__)


class _AfterLastRequest(Exception):
    """Bytes follow a request that ends its connection; they are not parsed."""


class RequestReader(HttpToolsProtocol, ABC):
    """uvicorn's protocol with limits on what httptools reads. It ignores offers of another protocol (Upgrade).

    httptools would take a request with such an offer for the last one on its connection, and drop its body
    (MagicStack/httptools#124).
    """

    transport: CoalescingTransport
    idle_timer: IdleTimer
    cycle: RequestCycle  # of the request being read, unless it was rejected
    place = BETWEEN
    is_over = False  # no more requests are read from this connection; further bytes are dropped
    _is_last = False  # the request being read ends its connection
    _offers_upgrade = False
    _is_feeding = _is_held = False
    _held = memoryview(b"")  # received and not parsed yet
    num_head_bytes = 0  # of the request being read, without its last slice
    _num_trailer_fields = 0
    _num_excess_bytes = 0  # of the framing of chunks, beyond the share that their data allow
    _num_chunks = 0  # in this turn of the loop

    def data_received(self, data: bytes) -> None:
        """Handle bytes from the client."""
        if self.is_over or self.transport.is_closing():
            return
        if self._is_held:
            self._held = memoryview(bytes(self._held) + data)
            return
        self._feed(data)

    def on_message_begin(self) -> None:
        """Handle the first byte of a request."""
        if self._is_last:
            raise _AfterLastRequest
        super().on_message_begin()
        self.place, self._offers_upgrade = HEAD, False
        self.num_head_bytes = self._num_trailer_fields = self._num_excess_bytes = 0
        self.idle_timer.stop()

    def on_url(self, url: bytes) -> None:
        """Handle part of the request's target."""
        self.url += url
        if len(self.url) > MAX_TARGET_BYTES:
            raise TargetTooLong(f"the request's target is over {MAX_TARGET_BYTES // 1024} KiB")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Handle a field of the head or of the trailer. Trailers count towards the limits; nothing reads them.

        httptools leaves the blanks after a value, which do not belong to it (RFC 9110, 5.5).
        """
        if self.place == HEAD:
            self.headers.append((name.lower(), value.rstrip(_BLANKS)))
        else:
            self._num_trailer_fields += 1

    def on_chunk_header(self) -> None:
        """Handle the size of a chunk."""
        self._num_excess_bytes -= _CHUNK_CREDIT
        self._num_chunks += 1

    def on_body(self, body: bytes) -> None:
        """Handle part of a body."""
        self._num_excess_bytes -= 3 * len(body)
        if not self.is_answered:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Handle the end of a request."""
        if self._offers_upgrade:
            return
        if self._num_trailer_fields and len(self.headers) + self._num_trailer_fields > MAX_FIELDS:
            raise head_too_large()
        self.place = BETWEEN
        if self.is_answered:
            self.idle_timer.stop()
        else:
            super().on_message_complete()

    @property
    @abstractmethod
    def is_answered(self) -> bool:
        """Whether the request being read already has its whole response."""

    @abstractmethod
    def fail(self, error: ServiceError) -> None:
        """Answer with `error` when its turn comes, and end the connection."""

    @abstractmethod
    def watch_idle(self) -> None:
        """Start the timer that ends an idle connection, unless an answer is owed."""

    def release(self) -> None:
        """Resume reading in the next turn of the loop, if `_hold` has stopped it."""
        if self._is_held:
            self.loop.call_soon(self._read_on)

    def stop_reading(self) -> None:
        """Read no more requests: drop unparsed bytes, and those to come."""
        self.is_over, self._is_held, self._held = True, False, memoryview(b"")
        self.transport.hold_reading(False)

    def _hold(self, rest: memoryview) -> None:
        self._is_held, self._held = True, rest
        self.transport.hold_reading(True)

    def _read_on(self) -> None:
        if self.is_over or self.transport.is_closing() or not self._is_held or self.pipeline:
            return
        held, self._held, self._is_held = self._held, memoryview(b""), False
        self.transport.hold_reading(False)
        self._feed(held)

    def _feed(self, data: bytes | memoryview) -> None:
        """Parse `data` in slices; hold the rest once requests wait, or this turn of the loop is long."""
        self._is_feeding, at, length = True, 0, len(data)
        self._num_chunks = 0
        try:
            while at < length:
                at += self._parse_slice(data[at : at + _SLICE_BYTES] if length > _SLICE_BYTES else data[at:])
                if self.pipeline:
                    self._hold(memoryview(data)[at:])
                    break
                if at < length and (self.place != BODY or self._num_chunks > _CHUNKS_AT_ONCE):
                    self._hold(memoryview(data)[at:])
                    self.release()
                    break
        except (HttpParserError, ServiceError) as error:
            self._stop(error)
        finally:
            self._is_feeding = False
        self.watch_idle()

    def _parse_slice(self, part: bytes | memoryview) -> int:
        """Parse `part`, up to a head that offers another protocol; return the number of bytes parsed."""
        num_parsed, offers = len(part), False
        try:
            self.parser.feed_data(part)
        except HttpParserUpgrade as offered:
            num_parsed, offers = offered.args[0], True
        if offers:
            self._forget_upgrade()
        if self.place == HEAD:  # a complete head is measured without blanks
            self.num_head_bytes += num_parsed
            if self.num_head_bytes > 2 * MAX_HEAD_BYTES or len(self.headers) > MAX_FIELDS:
                raise head_too_large()
        elif self.place == BODY:
            self._num_excess_bytes = max(0, self._num_excess_bytes + num_parsed)
            if self._num_excess_bytes > MAX_HEAD_BYTES or len(self.headers) + self._num_trailer_fields > MAX_FIELDS:
                raise head_too_large()
        return num_parsed

    def _forget_upgrade(self) -> None:
        """Parse the head again, without the offer."""
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        fields = [b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade"]
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.parser.feed_data(b"".join([line, *fields, b"\r\n"]))

    def _stop(self, error: Exception) -> None:
        cause = error if isinstance(error, ServiceError) else error.__context__
        if isinstance(cause, _AfterLastRequest):
            self.stop_reading()
            return
        if not isinstance(cause, ServiceError | None):
            logger.error("bug while reading a request", exc_info=cause)
        self.stop_reading()
        self.fail(cause if isinstance(cause, ServiceError) else MalformedHttp("the bytes received are not HTTP/1.1"))
