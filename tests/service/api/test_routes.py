"""Every route, in every spelling, with every wrong key: refused."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from adapters.backbone.source import LoadedBackbone
from service.app import create_app
from service.publishing.checks import check_upload
from service.registry import Registry
from service.settings import Settings
from tests.support.factories import make_adapter_bytes
from tests.support.serving import KEY, Listening, listening

BODIES = {
    "/v1/predict": b'{"inputs": "a", "tasks": ["t"]}',
    "/classify": b'{"model": "t", "input": "a"}',
}  # of routes whose task is in the body
BODY = b'{"inputs": "a", "version": 1}'
OPEN = {
    "/health",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
}  # of the routes in the document; they need no key


@dataclass(frozen=True)
class Route:
    method: str
    path: str  # filled in
    scope: str  # that it needs
    has_task: bool


def scope_of(method: str, path: str) -> str:
    if not path.startswith("/admin"):
        return "predict"
    deletes = method == "DELETE" and "/tasks/" in path
    return "admin" if deletes or "/keys" in path or "/audit" in path or "/weight" in path else "upload"


def all_routes() -> list[Route]:
    paths = create_app(Settings()).openapi()["paths"]
    return [
        Route(
            method.upper(),
            path.format(task="t", version=1, alias="live", key_id="0123456789ab"),
            scope_of(method.upper(), path),
            "{task}" in path,
        )
        for path, methods in paths.items()
        for method in methods
        if path not in OPEN
    ]


ROUTES = all_routes()
SPELLINGS = {
    "plain": lambda path: path,
    "double slash": lambda path: "/" + path,
    "inner double slash": lambda path: path.replace("/", "//")[1:],
    "dots": lambda path: "/health/%2e%2e" + path,
    "inner dots": lambda path: path + "/x/%2e%2e",
    "encoded slash": lambda path: path[0] + path[1:].replace("/", "%2f"),
    "trailing slash": lambda path: path + "/",
    "trailing line break": lambda path: path + "%0a",
    "forged host": lambda path: path,
    "forged host with a path": lambda path: path,
}
HOSTS = {"forged host": "admin.internal", "forged host with a path": "x/health/live?"}


@pytest.fixture(scope="module")
def server(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Listening, Path]]:
    folder = tmp_path_factory.mktemp("routes")
    with listening(tiny, folder, require_key=True) as server:
        yield server, folder


@pytest.fixture(scope="module")
def keys(server: tuple[Listening, Path], tiny: LoadedBackbone) -> dict[str, str]:
    """One key of each kind; the task `t` has a version."""
    registry = Registry.open(Settings(data_dir=server[1]).resolved_registry_url)
    registry.publish("t", check_upload(make_adapter_bytes(identity=tiny.identity)))

    def make(*scopes: str, tasks: tuple[str, ...] = ()) -> tuple[str, str]:
        key, text = registry.create_key("test", scopes, tasks, actor="test", source="")
        return key.id, text

    revoked_id, revoked = make("admin")
    registry.revoke_key(revoked_id, actor="test", source="")
    found = {
        "revoked": revoked,
        "only admin lacks": make("predict", "upload")[1],
        "only upload lacks": make("predict")[1],
        "only predict lacks": make("upload")[1],
        "other task": make("admin", tasks=("elsewhere",))[1],
        "good": make("admin")[1],
    }
    registry.close()
    for _ in range(200):
        if server[0].request("GET", "/admin/v1/keys", {"Authorization": f"Bearer {found['good']}"})[0] == 200:
            return found
    pytest.fail("the keys did not arrive")


def headers_of(kind: str, route: Route, keys: dict[str, str]) -> dict[str, str]:
    text = {
        "no key": None,
        "wrong": KEY[:-1] + "x",
        "revoked": keys["revoked"],
        "wrong scope": keys[f"only {route.scope} lacks"],
        "other task": keys["other task"],
    }[kind]
    return {} if text is None else {"Authorization": f"Bearer {text}"}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("kind", ["no key", "wrong", "revoked", "wrong scope", "other task"])
def test_refused(server: tuple[Listening, Path], keys: dict[str, str], kind: str, spelling: str) -> None:
    """No route answers without a key that is good for it, however its path is written; nothing is ever changed."""
    for route in ROUTES:
        path = SPELLINGS[spelling](route.path)
        headers = headers_of(kind, route, keys) | {"Content-Type": "application/json"}
        if spelling in HOSTS:
            headers["Host"] = HOSTS[spelling]
        status, body = server[0].request(route.method, path, headers, BODIES.get(route.path, BODY))
        lists = kind == "other task" and not route.has_task and route.scope != "admin"
        if lists and status == 200:
            alone = route.path == "/v1/predict" and b'"status":403}},' in body
            assert alone or body == b'{"tasks":[]}', (route, path)
        elif path != route.path:
            assert status in (401, 403, 404, 405), (route, path, status)
        else:
            assert status == (403 if kind in ("wrong scope", "other task") else 401), (route, path, status)


def test_every_route_is_among_them(server: tuple[Listening, Path], keys: dict[str, str]) -> None:
    """The routes that were tried are all of them, each answers a good key, and after all of it nothing has changed."""
    assert len(ROUTES) == 28
    good = {"Authorization": f"Bearer {keys['good']}"}
    for route in ROUTES:
        if route.method == "GET":
            assert server[0].request("GET", route.path, good)[0] == 200, route
    status, body = server[0].request("GET", "/admin/v1/tasks/t", good)
    assert status == 200
    assert b'"aliases":{"live":1}' in body


def test_no_route_answers_a_prediction_that_is_none(server: tuple[Listening, Path], keys: dict[str, str]) -> None:
    """With a good key, too, a path with a line break at its end is no prediction: neither 200 nor a bug."""
    good = {"Authorization": f"Bearer {keys['good']}", "Content-Type": "application/json"}
    status, body = server[0].request("POST", "/v1/t/predict%0a", good, b'{"inputs": "a"}')
    assert status == 404
    assert b'"not_found"' in body
