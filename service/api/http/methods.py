"""Which methods a path takes."""

from collections.abc import Callable, Sequence
from typing import Any

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.http.prefix import route_path

_OF_FILES = {"GET"}  # of a mounted folder


def methods_of(routes: Sequence[BaseRoute], scope: Scope) -> list[str]:
    """The methods of all routes with the path of `scope`, those of included routers too; HEAD wherever GET is."""
    path, found = route_path(scope), set[str]()
    for route in iter_route_contexts(routes):
        if route.path_regex.match(path):
            found |= _OF_FILES if isinstance(route.original_route, Mount) else (route.methods or set())
    return sorted(found | {"HEAD"} if "GET" in found else found)


def error_shape_of(routes: Sequence[BaseRoute], scope: Scope) -> Callable[[Any], Any] | None:
    """How the protocol of the path of `scope` writes an error, whatever the method; None where it is ours."""
    path = route_path(scope)
    for route in iter_route_contexts(routes):
        if (shape := getattr(route.original_route, "error_shape", None)) is not None and route.path_regex.match(path):
            found: Callable[[Any], Any] = shape
            return found
    return None


class HeadAsGet:
    """Answers HEAD as `app` answers GET: the same status and headers, Content-Length included, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything but HEAD through."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        inner = {**scope, "method": "GET"}
        try:
            await self._app(inner, receive, send_head)
        finally:  # for the log
            scope.update({name: inner[name] for name in ("route", "path_params") if name in inner})
