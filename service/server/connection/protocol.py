"""uvicorn's protocol for one HTTP/1.1 connection, with an answer for whatever a client may do with a connection.

Predictions that would get no permit are refused as soon as their head is there (api/gate.py): no task is made for them,
no application sees them, and their bodies are read and dropped.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from service.api.deps import ServerState
from service.api.http.early_rejection import refusal, refusal_bytes
from service.errors import BodyCut, HeadTimeout, ServiceError
from service.server.connection.client_address import forwarded_headers, normal_address
from service.server.connection.crowd import make_room
from service.server.connection.cycle import Cycle
from service.server.connection.failures import failure_answer
from service.server.connection.head import check_head, check_size, fill_scope
from service.server.connection.reader import BETWEEN, BODY, HEAD, RequestReader
from service.server.connection.transport import CoalescingTransport

_FIRST_LOOK_S, _LAST_LOOK_S = 0.01, 1.0  # at whether a client that has half-closed is gone


class Connection(RequestReader):
    """One connection to an application whose lifespan gives `server`, a ServerState."""

    _running: RequestResponseCycle | None = None  # the request that is answered now, or was answered last
    _is_refused = False  # the request that is read was refused at once
    _is_half_closed = False  # the client sends no more
    _last_answer: bytes | None = None  # after those that are owed; the connection then ends

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client has connected."""
        super().connection_made(CoalescingTransport(transport, self.loop, self._expects_input))
        self._server: ServerState = self.app_state["server"]
        self._forwarded = forwarded_headers(str(self.config.forwarded_allow_ips))
        self._peer = None
        if self.client is not None:
            self._peer = normal_address(self.client[0]) or self.client[0]
            self.client = self._peer, self.client[1]
        self._trusts_peer = self._forwarded.trusts(self._peer)
        self._start_timer(self._server.settings.head_timeout_s, self._end_silent)
        make_room(self.server_state.connections)  # type: ignore[arg-type]  # all are of this class

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self.stop_timer()
        self.transport.lost()
        if self._running is not None:
            self._running.disconnected = not self._running.response_complete
            self._running.message_event.set()
        self.pipeline.clear()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's always closes
        """The client sends no more. Whether the connection stays open: while an answer is owed."""
        is_news, self._is_half_closed = not self._is_half_closed, True
        self.stop_reading()
        if not self._owes_answer:
            self.transport.close()
            return False
        if not is_news:  # a transport that is told to read on says so once more
            return True
        if self.place == BODY:
            self._break_body(BodyCut("the client left before its body had come"))
        if self._running is not None and not self._running.response_started:
            self.transport.write_prefix()
        self._look_for_reset(_FIRST_LOOK_S)
        return True

    def on_headers_complete(self) -> None:
        """The head of a request is there: refuse it, or hand it on."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        self.expect_100_continue = check_head(method, version, self.headers)
        if self.num_head_bytes:
            check_size(self.url, self.headers)
        if self.parser.should_upgrade():
            self._offers_upgrade = True
            return
        keep_alive = version == "1.1" and bool(self.parser.should_keep_alive())
        self._is_refused = method == b"POST" and self._refuse(keep_alive)
        if not self._is_refused:
            self._finish_scope(method, version)
            self._begin(keep_alive)
        self.place = BODY
        self.stop_timer()

    def on_response_complete(self) -> None:
        """An answer is written."""
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
        self.watch_silence()

    def pause_writing(self) -> None:
        """The client reads more slowly than answers are written."""
        super().pause_writing()
        self.transport.watch_stall()

    @property
    def is_answered(self) -> bool:
        """Whether the request that is read has got its whole answer already."""
        return self._is_refused or self.cycle.response_complete

    def fail(self, error: ServiceError) -> None:
        """Answer `error` when its turn comes, and end the connection. The application answers faults in a body."""
        if self.place == BODY:
            self._break_body(error)
        else:
            method = self.parser.get_method().decode("ascii") if self.place == HEAD and self.url else ""
            headers = self.headers if self.place == HEAD else []
            client = self._client() if self.place == HEAD else self._peer
            defaults = self.server_state.default_headers
            self._last_answer = failure_answer(error, method, headers, client, defaults, self._server)
        if not self._owes_answer:
            self._end()

    def watch_silence(self) -> None:
        """Start the timer that ends a silent connection, unless an answer is owed."""
        if (
            self.timeout_keep_alive_task is not None
            or self._owes_answer
            or self._is_held
            or self.transport.is_closing()
        ):
            return
        if self.place == HEAD:
            self._start_timer(self._server.settings.head_timeout_s, self._end_silent)
        else:
            self._start_timer(self.timeout_keep_alive, self._end_silent)

    @property
    def silent_until(self) -> tuple[bool, float] | None:
        """Whether it has had an answer, and when its silence ends it; None while it is not silent."""
        timer = self.timeout_keep_alive_task
        return None if timer is None else (self._running is not None, timer.when())

    def cut(self) -> None:
        """End the connection at once."""
        self.transport.abort()

    @property
    def _owes_answer(self) -> bool:
        return self._running is not None and not self._running.response_complete

    def _start_timer(self, seconds: float, end: Any) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, end)

    def _end_silent(self) -> None:
        self.timeout_keep_alive_task = None
        self.stop_reading()
        if self.place == HEAD:
            limit_s = self._server.settings.head_timeout_s
            self.fail(HeadTimeout(f"the request's head did not come within {limit_s:g} s (ADAKRON_HEAD_TIMEOUT_S)"))
        else:
            self.transport.close()

    def _end(self) -> None:
        if self._last_answer is not None:
            self.transport.write(self._last_answer)
        self.transport.close()

    def _expects_input(self) -> bool:
        """Whether bytes of the client may be on their way, or here and unread."""
        return not self._is_half_closed and (self.place != BETWEEN or self._is_held or self.flow.read_paused)

    def _break_body(self, error: ServiceError) -> None:
        if not self.is_answered:
            self.cycle.break_body(error)

    def _look_for_reset(self, after_s: float) -> None:
        """Look now and again whether the client is gone: once it has half-closed the loop does not report a reset."""
        if not self._owes_answer or self.transport.is_closing():
            return
        if self.transport.is_reset():
            self.transport.abort()
        else:
            self.loop.call_later(after_s, self._look_for_reset, min(2 * after_s, _LAST_LOOK_S))

    def _client(self) -> str | None:
        return (self._trusts_peer and self._forwarded.client(self.headers)) or self._peer

    def _finish_scope(self, method: bytes, version: str) -> None:
        fill_scope(self.scope, method, version, self.url, self.root_path)
        if self._trusts_peer:
            client = self._client()
            if client is not None and client != self._peer:
                self.scope["client"] = client, 0
            self.scope["scheme"] = self._forwarded.scheme(self.headers) or self.scope["scheme"]

    def _refuse(self, keep_alive: bool) -> bool:
        """Whether the request is refused: a prediction without a permit, whose answer is the next to be written."""
        if self._owes_answer or self.flow.write_paused or self.transport.is_closing():
            return False
        refused = refusal(self.url, self.headers, self._client, self._server)
        if refused is None:
            return False
        ends = not keep_alive or self.expect_100_continue or self._server.drain.begun
        head = [STATUS_LINE[429], *(b"%b: %b\r\n" % header for header in self.server_state.default_headers)]
        if ends:
            head.append(b"connection: close\r\n")
        self.transport.write(b"".join([*head, refusal_bytes(refused)]))
        if ends:
            self._is_last = True
            self.transport.close()
        self.on_response_complete()
        return True

    def _begin(self, keep_alive: bool) -> None:
        """Have the request answered by the application, after those that came before."""
        self._is_last = not keep_alive
        self.cycle = Cycle(
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
        if self._owes_answer:
            self.pipeline.appendleft((self.cycle, self.app))
        else:
            self._start_asgi_task(self.cycle, self.app)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)
