"""CORS: web pages of the origins in ADAKRON_CORS_ORIGINS may read answers.

Starlette's CORS middleware cannot add headers to the answers that a connection gives without the application;
`cors_headers` is called for those, too.
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
    # The API's own headers by name: * does not include Authorization, and old browsers do not know *.
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Content-Digest, If-Match, If-None-Match, "
    "X-Request-Id, X-Request-Timeout-Ms, Inference-Header-Content-Length, Traceparent, Tracestate, *",
    "Access-Control-Max-Age": "600",
}


def cors_headers(origins: tuple[str, ...], headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Return the CORS headers of the answer to a request with these raw headers; none if no origin is allowed."""
    if not origins:
        return ()
    if origins == (ANY_ORIGIN,):
        return (b"access-control-allow-origin", b"*"), _EXPOSE
    origin = _header(headers, b"origin")
    if origin is None or origin.decode("latin-1") not in origins:
        return (_VARY,)
    return (b"access-control-allow-origin", origin), _EXPOSE, _VARY


class Preflight:
    """ASGI middleware that answers preflight requests without a key and without calling a route."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        self._app, self._origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass requests that are no preflight through unchanged."""
        if scope["type"] != "http" or scope["method"] != "OPTIONS" or not _is_preflight(scope["headers"]):
            await self._app(scope, receive, send)
            return
        response = Response(status_code=204, headers=_PREFLIGHT)
        if len(cors_headers(self._origins, scope["headers"])) < 2:
            message = "pages of this origin may not call this server: ADAKRON_CORS_ORIGINS does not list it"
            response = Failure(403, message, ORIGIN_REFUSED).build_response()
        await response(scope, receive, send)


def _is_preflight(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return None not in (_header(headers, b"origin"), _header(headers, b"access-control-request-method"))


def _header(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes | None:
    return next((value for name, value in headers if name == wanted), None)
