"""CORS: which web pages of other origins may read answers (ADAKRON_CORS_ORIGINS).

Starlette's middleware would not see what the connection answers by itself; `cors_headers` is for every answer.
"""

from collections.abc import Iterable

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.http.errors import ORIGIN_REFUSED, Failure
from service.api.http.headers import RawHeaders
from service.settings.web import ANY_ORIGIN

_EXPOSED = b"X-Request-Id, Retry-After, ETag, Allow, Inference-Header-Content-Length"
_EXPOSE = (b"access-control-expose-headers", _EXPOSED)
_VARY = (b"vary", b"Origin")
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE",
    # Those of the API by name, and any other: * does not stand for Authorization, and old browsers do not know it.
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Content-Digest, If-Match, If-None-Match, "
    "X-Request-Id, X-Request-Timeout-Ms, Inference-Header-Content-Length, Traceparent, Tracestate, *",
    "Access-Control-Max-Age": "600",
}


def cors_headers(origins: tuple[str, ...], headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """What every answer to a request with these raw headers says to a browser; nothing where no origin is allowed."""
    if not origins:
        return ()
    if origins == (ANY_ORIGIN,):
        return (b"access-control-allow-origin", b"*"), _EXPOSE
    origin = _header(headers, b"origin")
    if origin is None or origin.decode("latin-1") not in origins:
        return (_VARY,)
    return (b"access-control-allow-origin", origin), _EXPOSE, _VARY


class Preflight:
    """Answers what a browser asks before a page may send a request: no key is needed, no route is called."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        self._app, self._origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass every other request through."""
        if scope["type"] != "http" or scope["method"] != "OPTIONS" or not _is_preflight(scope["headers"]):
            await self._app(scope, receive, send)
            return
        response = Response(status_code=204, headers=_PREFLIGHT)
        if len(cors_headers(self._origins, scope["headers"])) < 2:
            message = "no page of this origin may call this server: ADAKRON_CORS_ORIGINS does not list it"
            response = Failure(403, message, ORIGIN_REFUSED).answer()
        await response(scope, receive, send)


def _is_preflight(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return None not in (_header(headers, b"origin"), _header(headers, b"access-control-request-method"))


def _header(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes | None:
    return next((value for name, value in headers if name == wanted), None)
