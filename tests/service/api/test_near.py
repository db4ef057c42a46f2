"""Near matches of an unknown task: on every route, only names that the caller may know."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from adapters.backbone.source import LoadedBackbone
from service.app import create_app
from service.settings import Settings
from tests.support.factories import make_adapter_bytes
from tests.support.serving import ADMIN, running, upload

SECRET, MISSING = "sst2", "sst2-next"
VALUES = {"version": "1", "alias": "canary"}
BODIES: dict[str, Any] = {
    "/v1/{task}/predict": {"inputs": "a"},
    "/tei/{task}/predict": {"inputs": "a"},
    "/v2/models/{task}/infer": {},
    "/v2/models/{task}/versions/{version}/infer": {},
    "/admin/v1/tasks/{task}/aliases/{alias}": {"version": 1},
    "/admin/v1/tasks/{task}/weight": {"weight": 2.0},
}
PUBLISHES = ("post", "/admin/v1/tasks/{task}/versions")  # a task that is unknown there is a new one
IN_PATH = sorted(
    (method, path)
    for path, methods in create_app(Settings()).openapi()["paths"].items()
    for method in methods
    if "{task}" in path and (method, path) != PUBLISHES
)
IN_BODY = [
    ("post", "/v1/predict", {"inputs": "a", "tasks": [MISSING]}),
    ("post", "/classify", {"model": MISSING, "input": "a"}),
]
ROUTES = [
    *((method, path.format(task=MISSING, **VALUES), BODIES.get(path)) for method, path in IN_PATH),
    *IN_BODY,
]


@pytest.fixture(scope="module", params=[True, False], ids=["keys needed", "open"])
def client(request: pytest.FixtureRequest, tiny: LoadedBackbone, tmp_path_factory: Any) -> Iterator[TestClient]:
    folder: Path = tmp_path_factory.mktemp("near")
    with running(tiny, folder, require_key=request.param) as client:
        upload(client, SECRET, make_adapter_bytes(identity=tiny.identity))
        client.headers["X-Keys-Needed"] = str(request.param)
        yield client


def key_for(client: TestClient, *tasks: str) -> dict[str, str]:
    body = {"name": "near", "scopes": ["admin"], "tasks": list(tasks)}
    made = client.post("/admin/v1/keys", json=body, headers=ADMIN).json()
    return {"Authorization": f"Bearer {made['key']}"}


def needs_key(client: TestClient, path: str) -> bool:
    return path.startswith("/admin") or client.headers["X-Keys-Needed"] == "True"


def ask(client: TestClient, route: tuple[str, str, Any], headers: dict[str, str]) -> httpx.Response:
    method, path, body = route
    return client.request(method, path, headers=headers, **({} if body is None else {"json": body}))


def test_every_route_is_asked() -> None:
    """The list of routes holds all that name a task: predictions, other protocols, lists, the admin API."""
    assert len(IN_PATH) >= 17
    paths = {path for _, path in IN_PATH}
    assert set(BODIES) <= paths
    assert {"/v1/tasks/{task}", "/v2/models/{task}/ready", "/admin/v1/tasks/{task}/rollback"} <= paths


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route[0]} {route[1]}")
def test_near_matches_are_of_what_the_key_may_know(client: TestClient, route: tuple[str, str, Any]) -> None:
    """With a key for an unknown task the error names no other task; with a key for both, or without keys, it does."""
    hint = f"did you mean {SECRET}?"
    told = ask(client, route, key_for(client, MISSING))
    assert f"no task '{MISSING}'" in told.text
    assert (hint in told.text) is not needs_key(client, route[1])
    assert hint in ask(client, route, key_for(client, MISSING, SECRET)).text
    assert hint in ask(client, route, ADMIN).text


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route[0]} {route[1]}")
def test_other_tasks_are_forbidden_whether_they_exist_or_not(client: TestClient, route: tuple[str, str, Any]) -> None:
    """A key for certain tasks gets 403, in the same words, for one that exists and for one that does not."""
    if not needs_key(client, route[1]):
        return
    method, path, body = route
    key, found = key_for(client, "another"), []
    for name in (SECRET, MISSING):
        named = path.replace(MISSING, name), _renamed(body, name)
        answer = ask(client, (method, *named), key)
        assert "key_task" in answer.text or "is not for this task" in answer.text
        found.append((answer.status_code, answer.text.replace(MISSING, SECRET)))
    if "timings_ms" not in found[0][1]:
        assert found[0] == found[1]


def _renamed(body: Any, name: str) -> Any:
    if not isinstance(body, dict):
        return body
    return {key: name if value == MISSING else [name] if value == [MISSING] else value for key, value in body.items()}
