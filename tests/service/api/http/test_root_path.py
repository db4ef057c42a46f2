"""The server below a prefix: told by its setting or by the ASGI server, with the prefix in the path and without it."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from adapters.backbone.source import LoadedBackbone
from service.api.predict.early_rejection import reject_early
from service.api.state import ServerState
from service.app import create_app
from service.client import AdaKronClient
from service.settings import Settings
from service.settings.web import OWN_PATHS
from tests.service.api.http.test_methods import PATHS
from tests.support.factories import make_adapter_bytes
from tests.support.log_lines import access, written
from tests.support.nginx import WAYS, nginx
from tests.support.serving import ADMIN, KEY, UPLOAD, listening, parts_of, running, settings_for, upload

PREFIX = "/nlp"
BODY = {"inputs": "a good film"}
_JSON = {"Content-Type": "application/json"}


@contextmanager
def told_by_asgi(tiny: LoadedBackbone, folder: Path) -> Iterator[TestClient]:
    """uvicorn's --root-path and Ray Serve's route_prefix set root_path, and the path begins with it."""
    app = create_app(settings_for(folder, access_log=True), lambda _: tiny)
    with TestClient(app, raise_server_exceptions=False, root_path=PREFIX) as client:
        yield client


@contextmanager
def told_by_setting(tiny: LoadedBackbone, folder: Path) -> Iterator[TestClient]:
    with running(tiny, folder, root_path=f"{PREFIX}/", access_log=True) as client:
        yield client


@pytest.fixture(params=[told_by_asgi, told_by_setting], ids=lambda kind: kind.__name__, scope="module")
def client(
    request: pytest.FixtureRequest, tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    with request.param(tiny, tmp_path_factory.mktemp("prefix")) as client:
        client.follow_redirects = False
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        yield client


@pytest.mark.parametrize("path", sorted(path for path, methods in PATHS.items() if "GET" in methods))
def test_every_page_is_at_both_places(client: TestClient, path: str) -> None:
    """Status, type and caching are the same with the prefix and without it."""
    plain, below = (client.get(place + path, headers=ADMIN) for place in ("", PREFIX))
    assert plain.status_code == below.status_code in (200, 307)
    for name in ("Content-Type", "Cache-Control", "Content-Security-Policy", "Location"):
        assert plain.headers.get(name) == below.headers.get(name)


@pytest.mark.parametrize("place", ["", PREFIX])
def test_predictions_are_answered_and_recorded(client: TestClient, place: str) -> None:
    """By the same code as without a prefix: the answer, the line in the log, the count of the task."""
    line = 'adakron_requests_total{code="200",task="t"} '
    before = _value(client.get("/metrics").text, line)
    with written() as lines:
        assert client.get(f"{place}/health").status_code == 200  # a probe, which is not logged
        answer = client.post(f"{place}/v1/t/predict", json=BODY)
        assert client.post(f"{place}/v1/t/predict", json={"inputs": 7}).json()["error_type"] == "validation"
    assert answer.status_code == 200
    assert answer.json()["predictions"][0]["label"]
    assert [line["route"] for line in access(lines)] == ["/v1/{task}/predict"] * 2
    assert _value(client.get("/metrics").text, line) == before + 1
    for path in ("/tei/t/predict", "/v2/models/t/infer"):
        assert client.post(place + path, content=b"{", headers=_JSON).status_code in (400, 422)


def _value(text: str, line: str) -> float:
    return sum(float(found.removeprefix(line)) for found in text.splitlines() if found.startswith(line))


def test_a_prediction_without_its_key_is_refused(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """The prefix is no way round the key."""
    with running(tiny, tmp_path, root_path=PREFIX, require_key=True) as client:
        for place in ("", PREFIX, PREFIX + PREFIX):
            assert client.post(f"{place}/v1/t/predict", json=BODY).status_code in (401, 404)
        assert client.post(f"{PREFIX}/v1/t/predict", json=BODY).status_code == 401


def test_links_lead_below_the_prefix(client: TestClient) -> None:
    """Those of the redirects, of /docs, and of the document that generators of clients read."""
    for path in (PREFIX, f"{PREFIX}/", "/"):
        assert client.get(path).headers["Location"] == f"{PREFIX}/console"
    page = client.get("/docs").text
    assert f"'{PREFIX}/openapi.json'" in page
    assert f'"{PREFIX}/static-offline-docs/swagger-ui.css"' in page
    assert client.get("/openapi.json").json()["servers"] == [{"url": PREFIX}]


def test_errors_name_the_path_of_the_client(client: TestClient) -> None:
    """404 as it was asked for, 405 with the methods of the route; no other path is below the prefix."""
    assert client.get(f"{PREFIX}/nothing").json()["error"].startswith(f"no route GET {PREFIX}/nothing ")
    assert client.get(f"{PREFIX}x/v1/tasks").status_code == 404
    assert client.get(f"{PREFIX}{PREFIX}/v1/tasks").status_code == 404
    assert client.get(f"{PREFIX}/v1/t/predict").headers["Allow"] == "POST"
    assert client.post(f"{PREFIX}/static-offline-docs/swagger-ui.css").headers["Allow"] == "GET, HEAD"


def test_the_gate_sees_through_the_prefix(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """A server without room refuses predictions by their heads, with the prefix and without it."""
    with running(tiny, tmp_path, root_path=PREFIX, max_queued_requests=1) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        state: ServerState = client.app_state["server"]
        permit = parts_of(state).admission.admit("t", time.monotonic() + 60)
        refused = {
            path: reject_early(path, [], lambda: None, state) is not None
            for path in (b"/v1/t/predict", b"/nlp/v1/t/predict", b"/nlpx/v1/t/predict", b"/nlp/nlp/v1/t/predict")
        }
        parts_of(state).admission.release(permit)
    assert list(refused.values()) == [True, True, False, False]


@pytest.mark.parametrize(
    ("given", "path"),
    [("", ""), ("/", ""), ("/nlp", "/nlp"), ("/nlp/", "/nlp"), ("/teams/nlp-1", "/teams/nlp-1"), ("/v10", "/v10")],
)
def test_a_prefix(given: str, path: str) -> None:
    """With or without a slash at its end."""
    assert Settings(root_path=given).root_path == path


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("nlp", "write /nlp"),
        ("http://host/nlp", "begins with /"),
        ("//nlp", "a path prefix like /nlp"),
        ("/a/../b", "a path prefix like /nlp"),
        ("/n l p", "a path prefix like /nlp"),
        ("/%6Elp", "a path prefix like /nlp"),
        ("/é", "a path prefix like /nlp"),
        ("/v1", "/v1 is a path of the server itself"),
        ("/docs/nlp", "/docs is a path of the server itself"),
    ],
)
def test_what_is_no_prefix(given: str, why: str) -> None:
    """Refused at the start with what to write."""
    with pytest.raises(ValidationError, match=why):
        Settings(root_path=given)


def test_own_paths_are_all_that_there_are() -> None:
    """A new route may not begin like a prefix that was allowed."""
    assert {path.split("/")[1] for path in PATHS} - {""} == OWN_PATHS


@pytest.fixture(scope="module")
def proxied(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server behind nginx."""
    folder = tmp_path_factory.mktemp("nginx")
    with (
        listening(tiny, folder, root_path=PREFIX) as server,
        nginx(tmp_path_factory.mktemp("conf"), server.port, PREFIX) as urls,
    ):
        with AdaKronClient(urls["keeps, HTTP/1.0"], KEY) as client:
            client.admin.upload("t", make_adapter_bytes(identity=tiny.identity))
        yield urls


@pytest.mark.parametrize("way", WAYS)
def test_behind_nginx(proxied: dict[str, str], tiny: LoadedBackbone, way: str) -> None:
    """Pages, predictions, errors and chunked uploads come through, many on one connection of the client."""
    data = make_adapter_bytes(identity=tiny.identity, seed=1 + list(WAYS).index(way))
    with httpx.Client(base_url=proxied[way], trust_env=False, timeout=60) as client:
        for _ in range(3):
            answer = client.post("/v1/t/predict", json=BODY)
            assert answer.status_code == 200
            assert answer.json()["predictions"][0]["label"]
        chunked = client.post("/v1/t/predict", content=iter([json.dumps(BODY).encode()]), headers=_JSON)
        assert chunked.json()["predictions"] == answer.json()["predictions"]
        parts = [data[start : start + 1000] for start in range(0, len(data), 1000)]
        sent = client.post("/admin/v1/tasks/t/versions?activate=false", content=iter(parts), headers=UPLOAD)
        assert sent.status_code == 201, sent.text
        version = sent.json()["version"]
        assert client.get(f"/admin/v1/tasks/t/versions/{version}/adapter", headers=ADMIN).content == data
        assert client.get("/health").json()["status"] == "ok"
        assert client.get("/", follow_redirects=True).url.path == f"{PREFIX}/console"
        assert client.get("/v1/t/predict").headers["Allow"] == "POST"
        head, got = client.head("/docs"), client.get("/docs")
        assert head.headers["Content-Length"] == str(len(got.content))
        assert client.get("/nothing").json()["error_type"] == "not_found"
        assert "adakron_requests_total" in client.get("/metrics").text
        assert client.post("/v1/t/predict", content=b"{", headers=_JSON).status_code == 400
