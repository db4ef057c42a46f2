"""Paths and methods: the path of a request below its prefix, the methods that a path takes, and HEAD."""

from collections.abc import Callable, Sequence
from typing import Any

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ROUTE_PATH = "adakron.route_path"  # a mounted folder changes root_path, but not this
_FILE_METHODS = {"GET"}  # of a mounted folder


def locate(scope: Scope, prefix: str) -> str:
    """Return the request's path without its prefix, and store it in `scope` for `route_path`.

    The prefix is the `root_path` that the ASGI server has set, or else `prefix`. A proxy may have stripped it from
    the path; afterwards `scope["path"]` contains it, as ASGI requires.
    """
    path: str = scope["path"]
    if root := (scope.get("root_path") or prefix).rstrip("/"):
        path = _without(path, root)
        scope.update({"root_path": root, "path": root + path})
    scope[_ROUTE_PATH] = path
    return path


def route_path(scope: Scope) -> str:
    """Return the path that `locate` has stored."""
    path: str = scope[_ROUTE_PATH]
    return path


def _without(path: str, prefix: str) -> str:
    if path == prefix:
        return "/"
    return path[len(prefix) :] if path.startswith(prefix + "/") else path


def methods_of(routes: Sequence[BaseRoute], scope: Scope) -> list[str]:
    """Return the methods of all routes that match the path of `scope`, with HEAD wherever GET is allowed."""
    path, found = route_path(scope), set[str]()
    for route in iter_route_contexts(routes):
        if route.path_regex.match(path):
            found |= _FILE_METHODS if isinstance(route.original_route, Mount) else (route.methods or set())
    return sorted(found | {"HEAD"} if "GET" in found else found)


def error_shape_of(routes: Sequence[BaseRoute], scope: Scope) -> Callable[[Any], Any] | None:
    """Return the `error_shape` of the route that matches the path of `scope`, whatever the method; None by default."""
    path = route_path(scope)
    for route in iter_route_contexts(routes):
        if (shape := getattr(route.original_route, "error_shape", None)) is not None and route.path_regex.match(path):
            found: Callable[[Any], Any] = shape
            return found
    return None


class HeadAsGet:
    """ASGI middleware that answers HEAD as `app` answers GET: the same status and headers, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass requests with other methods through unchanged."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        inner = {**scope, "method": "GET"}
        try:
            await self._app(inner, receive, send_head)
        finally:  # the request log reads the matched route from `scope`
            scope.update({name: inner[name] for name in ("route", "path_params") if name in inner})
