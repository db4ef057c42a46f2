"""uvicorn's protocol for one HTTP/1.1 connection, with a response to each fault of a client.

Predictions that would get no permit are rejected as soon as their head is complete (api/predict/early_rejection.py): no
asyncio task is created for them, the application does not see them, and their bodies are read and dropped.
"""

import asyncio
import itertools
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.api.predict.early_rejection import reject_early
from service.api.state import ServerState
from service.errors import BodyCut, HeadTimeout, ServiceError
from service.server.connection.client_address import forwarded_headers, normal_address
from service.server.connection.connection_limit import make_room
from service.server.connection.idle_timer import IdleTimer
from service.server.connection.raw_responses import error_response, rejection_response
from service.server.connection.request_cycle import RequestCycle
from service.server.connection.request_head import check_head, check_size, fill_scope
from service.server.connection.request_reader import BETWEEN, BODY, HEAD, RequestReader
from service.server.connection.transport import CoalescingTransport

_FIRST_CHECK_S, _MAX_CHECK_S = 0.01, 1.0  # between checks whether a client that has half-closed is gone
_numbers = itertools.count()


class Connection(RequestReader):
    """One connection to an application whose lifespan state has `server`, a ServerState."""

    _running: RequestCycle | None = None  # the request being answered, or the last one answered
    _is_rejected = False  # the request being read was rejected by its head
    _is_half_closed = False  # the client sends no more
    _last_response: bytes | None = None  # sent after the responses that are owed; then the connection ends

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Handle a new client."""
        self.number = next(_numbers)
        super().connection_made(CoalescingTransport(transport, self.loop, self._expects_input))
        self._server: ServerState = self.app_state["server"]
        self._forwarded = forwarded_headers(str(self.config.forwarded_allow_ips))
        self._peer = None
        if self.client is not None:
            self._peer = normal_address(self.client[0]) or self.client[0]
            self.client = self._peer, self.client[1]
        self._trusts_peer = self._forwarded.trusts(self._peer)
        self.idle_timer = IdleTimer(self.loop, self._end_idle)
        self.idle_timer.start(self._server.settings.head_timeout_s)
        make_room(self.server_state.connections)  # type: ignore[arg-type]  # all are of this class

    def connection_lost(self, exc: Exception | None) -> None:
        """Handle the end of the connection."""
        self.idle_timer.close()
        self.transport.lost()
        if self._running is not None:
            self._running.disconnected = not self._running.response_complete
            self._running.message_event.set()
            if self._running.disconnected:
                self._running.report_client_left()
        self.pipeline.clear()
        super().connection_lost(exc)
        # The request refers to its connection. Without a cycle both are freed now, not by a rare garbage collection.
        self.cycle = self._running = None  # type: ignore[assignment]

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's always closes
        """Handle the end of the client's bytes; return whether the connection stays open: while a response is owed."""
        is_news, self._is_half_closed = not self._is_half_closed, True
        self.stop_reading()
        if not self._owes_response:
            self.transport.close()
            return False
        if not is_news:  # a transport that resumes reading reports it again
            return True
        if self.place == BODY:
            self._break_body(BodyCut("the client closed the connection before the end of the body"))
        if self._running is not None and not self._running.response_started:
            self.transport.write_prefix()
        self._check_for_reset(_FIRST_CHECK_S)
        return True

    def on_headers_complete(self) -> None:
        """Handle a complete head: reject the request, or start it."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        self.expect_100_continue = check_head(method, version, self.headers)
        if self.num_head_bytes:
            check_size(self.url, self.headers)
        if self.parser.should_upgrade():
            self._offers_upgrade = True
            return
        keep_alive = version == "1.1" and bool(self.parser.should_keep_alive())
        self._is_rejected = method == b"POST" and self._reject(keep_alive)
        if not self._is_rejected:
            self._finish_scope(method, version)
            self._begin(keep_alive)
        self.place = BODY
        self.idle_timer.stop()

    def on_response_complete(self) -> None:
        """Handle the end of a response."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self.is_over:
            self._end()
        if self._is_feeding:
            return
        if not self.pipeline:
            self.release()
        self.watch_idle()

    def pause_writing(self) -> None:
        """Handle a client that reads more slowly than responses are written."""
        super().pause_writing()
        self.transport.watch_stall()

    @property
    def is_answered(self) -> bool:
        """Whether the request being read already has its whole response."""
        return self._is_rejected or self.cycle.response_complete

    def fail(self, error: ServiceError) -> None:
        """Answer with `error` when its turn comes, and end the connection. The application answers faults in a body."""
        if self.place == BODY:
            self._break_body(error)
        else:
            method = self.parser.get_method().decode("ascii") if self.place == HEAD and self.url else ""
            headers = self.headers if self.place == HEAD else []
            client = self._client() if self.place == HEAD else self._peer
            defaults = self.server_state.default_headers
            self._last_response = error_response(error, method, headers, client, defaults, self._server)
        if not self._owes_response:
            self._end()

    def watch_idle(self) -> None:
        """Start the timer that ends an idle connection, unless a response is owed."""
        if self.idle_timer.ends_at is not None or self._owes_response or self._is_held or self.transport.is_closing():
            return
        reads_head = self.place == HEAD
        self.idle_timer.start(self._server.settings.head_timeout_s if reads_head else self.timeout_keep_alive)

    @property
    def idle_until(self) -> tuple[bool, float] | None:
        """(a request was answered on it, time at which its idle timer ends it); None while it is not idle."""
        ends_at = self.idle_timer.ends_at
        return None if ends_at is None or self.transport.is_closing() else (self._running is not None, ends_at)

    def cut(self) -> None:
        """End the connection at once."""
        self.transport.abort()

    @property
    def _owes_response(self) -> bool:
        return self._running is not None and not self._running.response_complete

    def _end_idle(self) -> None:
        self.stop_reading()
        if self.place == HEAD:
            limit_s = self._server.settings.head_timeout_s
            self.fail(HeadTimeout(f"the request's head did not arrive within {limit_s:g} s (ADAKRON_HEAD_TIMEOUT_S)"))
        else:
            self.transport.close()

    def _end(self) -> None:
        if self._last_response is not None:
            self.transport.write(self._last_response)
        self.transport.close()

    def _expects_input(self) -> bool:
        """Whether bytes of the client may be on their way, or received and unread."""
        return not self._is_half_closed and (self.place != BETWEEN or self._is_held or self.flow.read_paused)

    def _break_body(self, error: ServiceError) -> None:
        if not self.is_answered:
            self.cycle.break_body(error)

    def _check_for_reset(self, after_s: float) -> None:
        """Check repeatedly whether the client is gone: after it has half-closed, the event loop reports no reset."""
        if not self._owes_response or self.transport.is_closing():
            return
        if self.transport.is_reset():
            self.transport.abort()
        else:
            self.loop.call_later(after_s, self._check_for_reset, min(2 * after_s, _MAX_CHECK_S))

    def _client(self) -> str | None:
        return (self._trusts_peer and self._forwarded.client(self.headers)) or self._peer

    def _finish_scope(self, method: bytes, version: str) -> None:
        fill_scope(self.scope, method, version, self.url, self.root_path)
        if self._trusts_peer:
            client = self._client()
            if client is not None and client != self._peer:
                self.scope["client"] = client, 0
            self.scope["scheme"] = self._forwarded.scheme(self.headers) or self.scope["scheme"]

    def _reject(self, keep_alive: bool) -> bool:
        """Reject a prediction that would get no permit, if its response is the next to be written; return whether."""
        if self._owes_response or self.flow.write_paused or self.transport.is_closing():
            return False
        rejection = reject_early(self.url, self.headers, self._client, self._server)
        if rejection is None:
            return False
        closes = not keep_alive or self.expect_100_continue or self._server.draining.is_set()
        self.transport.write_now(rejection_response(rejection, self.server_state.default_headers, closes))
        if closes:
            self._is_last = True
            self.transport.close()
        self.on_response_complete()
        return True

    def _begin(self, keep_alive: bool) -> None:
        """Let the application answer the request, after the earlier ones."""
        self._is_last = not keep_alive
        self.cycle = RequestCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive and not self.expect_100_continue,
            on_response=self.on_response_complete,
        )
        self.cycle.keeps_alive_later = keep_alive and self.expect_100_continue
        if self._owes_response:
            self.pipeline.appendleft((self.cycle, self.app))
        else:
            self._start_asgi_task(self.cycle, self.app)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        assert isinstance(cycle, RequestCycle)
        self._running = cycle
        super()._start_asgi_task(cycle, app)
