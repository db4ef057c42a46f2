"""uvicorn's HTTP/1.1, which answers what the gate refuses as soon as its head is there.

No task is made for it, and no application sees it; its body, whenever it comes, is read and forgotten.
"""

import asyncio

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.api.gate import malformed_bytes, refusal, refusal_bytes
from service.one_write import OneWrite


class GatedProtocol(HttpToolsProtocol):
    """One connection to an application whose lifespan gives `server`, a ServerState."""

    _refused = False  # the request whose body comes now

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client has come."""
        super().connection_made(OneWrite(transport, self.loop))

    def on_headers_complete(self) -> None:
        """The head of a request is there: refuse it, or hand it on."""
        answer = self._refusal() if self._may_answer() else None
        self._refused = answer is not None
        if answer is None:
            super().on_headers_complete()
            return
        self.transport.write(answer)
        if not self._keep_alive():
            self.transport.close()
        self.on_response_complete()

    def on_body(self, body: bytes) -> None:
        """Part of a body is there."""
        if self._refused:
            self._wait_on()
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A body has come to its end."""
        if self._refused:
            self._wait_on()
        else:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What has come is no HTTP/1.1."""
        head = [STATUS_LINE[400], *(b"%b: %b\r\n" % header for header in self.server_state.default_headers)]
        self.transport.write(b"".join([*head, malformed_bytes(self._peer(), self.app_state["server"])]))
        self.transport.close()

    def _peer(self) -> str | None:
        return self.client[0] if self.client else None

    def _client(self) -> str | None:
        """Whom a trusted proxy names, as uvicorn's middleware finds it; else the peer."""
        peer = self._peer()
        if not isinstance(self.app, ProxyHeadersMiddleware) or peer not in self.app.trusted_hosts:
            return peer
        named = b", ".join(value for name, value in self.headers if name == b"x-forwarded-for").decode("latin-1")
        return (named and self.app.trusted_hosts.get_trusted_client_address(named)[0]) or peer

    def _may_answer(self) -> bool:
        """Whether it is a request like any other, whose answer is the next to be written, and can be."""
        return (
            self.parser.get_method() == b"POST"
            and (self.cycle is None or self.cycle.response_complete)
            and not self.parser.should_upgrade()
            and not (self.flow.write_paused or self.transport.is_closing())
        )

    def _refusal(self) -> bytes | None:
        refused = refusal(self.url, self.headers, self._client, self.app_state["server"])
        if refused is None:
            return None
        head = [STATUS_LINE[429], *(b"%b: %b\r\n" % header for header in self.server_state.default_headers)]
        if not self._keep_alive():
            head.append(b"connection: close\r\n")
        return b"".join([*head, refusal_bytes(refused)])

    def _keep_alive(self) -> bool:
        if self.app_state["server"].drain.begun:
            return False
        return self.parser.get_http_version() != "1.0" and bool(self.parser.should_keep_alive())

    def _wait_on(self) -> None:
        """For the rest of the body, and for the next request, as long as any connection may be idle."""
        if self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
