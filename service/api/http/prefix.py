"""The path of a request without the prefix under which a proxy, or another server, offers this one."""

from starlette.types import Scope

_ROUTE_PATH = "adakron.route_path"  # a mounted folder changes root_path; this stays


def locate(scope: Scope, prefix: str) -> str:
    """Find the path as the routes have it, for `route_path` too.

    The prefix is the `root_path` of `scope`, set by the ASGI server, or else `prefix`. The path may have it, or a proxy
    may have stripped it: afterwards it is there, as ASGI wants it.
    """
    path: str = scope["path"]
    if root := (scope.get("root_path") or prefix).rstrip("/"):
        path = without(path, root)
        scope.update({"root_path": root, "path": root + path})
    scope[_ROUTE_PATH] = path
    return path


def route_path(scope: Scope) -> str:
    """The path as the routes have it, once `locate` has found it."""
    path: str = scope[_ROUTE_PATH]
    return path


def without(path: str, prefix: str) -> str:
    """`path` without `prefix`, if it is below it; "/" for the prefix itself."""
    if path == prefix:
        return "/"
    return path[len(prefix) :] if path.startswith(prefix + "/") else path
