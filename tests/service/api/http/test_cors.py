"""CORS: pages of the allowed origins read every answer, errors too, others none; nothing changes where it is off."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from adapters.backbone.source import LoadedBackbone
from service.api.predict.early_rejection import reject_early
from service.api.state import ServerState
from service.settings import Settings
from tests.service.api.http.test_methods import PATHS
from tests.support.factories import make_adapter_bytes
from tests.support.serving import ADMIN, listening, parts_of, running, upload

APP, OTHER = "https://app.example", "https://evil.example"
BODY = {"inputs": "a good film"}
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
ANSWERED = [
    *[("GET", path) for path, methods in sorted(PATHS.items()) if "GET" in methods],
    ("HEAD", "/v1/tasks"),
    ("POST", "/v1/t/predict"),
    ("POST", "/v1/nothing/predict"),
    ("POST", "/tei/t/predict"),
    ("POST", "/classify"),
    ("POST", "/v2/models/t/infer"),
    ("POST", "/v1/tasks"),
    ("GET", "/nothing"),
]


@contextmanager
def opened(tiny: LoadedBackbone, folder: Path, origins: str) -> Iterator[TestClient]:
    with running(tiny, folder, cors_origins=origins) as client:
        client.follow_redirects = False
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        yield client


@pytest.fixture(scope="module")
def listed(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with opened(tiny, tmp_path_factory.mktemp("listed"), f"{APP}, http://localhost:3000") as client:
        yield client


@pytest.fixture(scope="module")
def public(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with opened(tiny, tmp_path_factory.mktemp("public"), "*") as client:
        yield client


@pytest.mark.parametrize(("method", "path"), ANSWERED)
def test_an_allowed_origin_reads_every_answer(listed: TestClient, method: str, path: str) -> None:
    """Good ones, 401, 404, 405 and 422: the origin once, the headers that a page may read, and Vary for caches."""
    answer = listed.request(method, path, headers={"Origin": APP}, json=BODY if method == "POST" else None)
    assert answer.headers.get_list("Access-Control-Allow-Origin") == [APP]
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert {"X-Request-Id", "Retry-After"} <= set(exposed)
    assert "Origin" in answer.headers.get_list("Vary")


@pytest.mark.parametrize("origin", [None, OTHER, "null", f"{APP}:8443", f"{APP}.evil.example", "http://app.example"])
def test_other_origins_read_nothing(listed: TestClient, origin: str | None) -> None:
    """The answer has no permission in it, and a cache may not give it to an origin that is allowed."""
    answer = listed.post("/v1/t/predict", json=BODY, headers={} if origin is None else {"Origin": origin})
    assert answer.status_code == 200
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert answer.headers.get_list("Vary") == ["Origin"]


@pytest.mark.parametrize(("method", "path"), ANSWERED)
def test_a_star_is_for_every_origin(public: TestClient, method: str, path: str) -> None:
    """Every answer has the same headers, for any origin."""
    for origin in (APP, "null"):
        answer = public.request(method, path, headers={"Origin": origin}, json=BODY if method == "POST" else None)
        assert answer.headers.get_list("Access-Control-Allow-Origin") == ["*"]
        assert "Origin" not in answer.headers.get_list("Vary")


@pytest.mark.parametrize("path", ["/v1/t/predict", "/v2/models/t/infer", "/admin/v1/tasks", "/tei/nothing/predict"])
def test_a_preflight_needs_no_key(listed: TestClient, path: str) -> None:
    """It names methods and headers, has an id as every answer has, and is no prediction in the metrics."""
    before = listed.get("/metrics").text.count("adakron_requests_total{")
    answer = listed.options(path, headers={"Origin": APP} | PREFLIGHT)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers.get_list("Access-Control-Allow-Origin") == [APP]
    assert set(answer.headers["Access-Control-Allow-Methods"].split(", ")) == {"GET", "HEAD", "POST", "PUT", "DELETE"}
    allowed = {name.strip().lower() for name in answer.headers["Access-Control-Allow-Headers"].split(",")}
    assert {"authorization", "content-type", "x-request-id", "x-request-timeout-ms", "*"} <= allowed
    assert answer.headers["X-Request-Id"]
    assert listed.get("/metrics").text.count("adakron_requests_total{") == before


def test_a_preflight_of_another_origin_is_refused(listed: TestClient) -> None:
    """In the shape of every error, with the setting that would change it."""
    answer = listed.options("/v1/t/predict", headers={"Origin": OTHER} | PREFLIGHT)
    assert answer.status_code == 403
    assert answer.json()["error_type"] == "origin_refused"
    assert "ADAKRON_CORS_ORIGINS" in answer.json()["error"]
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_options_that_is_no_preflight(listed: TestClient) -> None:
    """405 as on a server without CORS; a page may read that, too."""
    answer = listed.options("/v1/t/predict", headers={"Origin": APP})
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert answer.headers["Access-Control-Allow-Origin"] == APP


def test_off_by_default(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """No header of CORS anywhere, and a preflight is a method that the path does not take."""
    with running(tiny, tmp_path) as client:
        answers = [
            client.options("/v1/t/predict", headers={"Origin": APP} | PREFLIGHT),
            client.get("/v1/tasks", headers={"Origin": APP}),
        ]
    assert [answer.status_code for answer in answers] == [405, 200]
    for answer in answers:
        assert not [name for name in answer.headers if name.startswith("access-control-") or name == "vary"]


def test_a_bug_is_readable(listed: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """500, of the short way of predictions and of FastAPI's."""

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("service.registry.snapshot.Snapshot.resolve", broken)
    monkeypatch.setattr("service.registry.snapshot.Snapshot.live", broken)
    for method, path in (("POST", "/v1/t/predict"), ("GET", "/v1/tasks")):
        answer = listed.request(method, path, headers={"Origin": APP}, json=BODY if method == "POST" else None)
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (500, APP)


@pytest.mark.parametrize("origin", [APP, OTHER])
def test_a_refusal_by_the_head_alone_says_the_same(tiny: LoadedBackbone, tmp_path: Path, origin: str) -> None:
    """429 of the connection has the headers of 429 of the route."""
    with running(tiny, tmp_path, cors_origins=APP, max_queued_requests=1) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        state: ServerState = client.app_state["server"]
        permit = parts_of(state).admission.admit("t", time.monotonic() + 60)
        late = client.post("/v1/t/predict", json=BODY, headers={"Origin": origin})
        early = reject_early(b"/v1/t/predict", [(b"origin", origin.encode())], lambda: None, state)
        parts_of(state).admission.release(permit)
    assert late.status_code == 429
    assert early is not None
    lines = early.to_bytes().partition(b"\r\n\r\n")[0].decode().split("\r\n")
    fields = {name: value for name, _, value in (line.partition(": ") for line in lines)}
    assert set(fields) == set(late.headers)
    assert ("access-control-allow-origin" in fields) is (origin == APP)
    for name in set(fields) - {"x-request-id"}:
        assert fields[name] == late.headers[name]


def test_what_the_connection_answers_is_readable(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """A head that is too large: 431 without the application."""
    large = "".join(f"X-{number}: {'x' * 1000}\r\n" for number in range(80))
    request = f"GET /v1/tasks HTTP/1.1\r\nHost: x\r\nOrigin: {APP}\r\n{large}\r\n"
    with (
        listening(tiny, tmp_path, cors_origins=APP) as server,
        socket.create_connection(("127.0.0.1", server.port), 30) as connection,
    ):
        connection.sendall(request.encode())
        head = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert head.startswith("HTTP/1.1 431")
    assert f"\r\naccess-control-allow-origin: {APP}\r\n" in head


@pytest.mark.parametrize(
    ("given", "origins"),
    [
        ("", ()),
        ("*", ("*",)),
        (" https://a.example , http://localhost:3000,", ("https://a.example", "http://localhost:3000")),
        ("HTTPS://A.Example:443,http://b:80,https://c:80", ("https://a.example", "http://b", "https://c:80")),
        ("http://[::1]:8000,chrome-extension://abc", ("http://[::1]:8000", "chrome-extension://abc")),
    ],
)
def test_origins(given: str, origins: tuple[str, ...]) -> None:
    """Origins are normalized to the form of browsers: in lower case, without the default port."""
    assert Settings.model_validate({"cors_origins": given}).cors_origins == origins


@pytest.mark.parametrize(
    "given",
    [
        "app.example",
        "https://app.example/",
        "https://app.example/path",
        "https://*.example",
        "https://user@app.example",
        "https://app.example?x",
        "https://münchen.example",
        "null",
        "https://a.example https://b.example",
    ],
)
def test_what_is_no_origin(given: str) -> None:
    """Refused at the start in one line that shows how one is written."""
    with pytest.raises(ValidationError, match="is not an origin: write scheme, host and port, such as https://app"):
        Settings.model_validate({"cors_origins": given})


def test_a_star_stands_alone() -> None:
    """Beside other origins it is refused: one of both is a mistake."""
    with pytest.raises(ValidationError, match=r"\* means every origin: remove the others"):
        Settings.model_validate({"cors_origins": f"*,{APP}"})


def test_the_key_stays_needed(listed: TestClient) -> None:
    """An origin is no permission for the admin API."""
    assert listed.get("/admin/v1/tasks", headers={"Origin": APP}).status_code == 401
    assert listed.get("/admin/v1/tasks", headers={"Origin": APP} | ADMIN).status_code == 200
