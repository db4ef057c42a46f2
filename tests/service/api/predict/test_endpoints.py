"""Every prediction route of every protocol: answered by its endpoint or not found, whatever its path and its key."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from adapters.backbone.source import LoadedBackbone
from service.api import PREDICTION_ENDPOINTS
from service.api.predict.context import Endpoint
from tests.support.factories import make_adapter_bytes
from tests.support.nginx import WAYS, nginx
from tests.support.serving import KEY, UPLOAD, Listening, listening, running, upload

PREFIX = "/nlp"
TENSOR = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}
BODIES: dict[str, Any] = {
    "/v1/{task}/predict": {"inputs": "a"},
    "/v1/predict": {"inputs": "a", "tasks": ["t"]},
    "/v2/models/{task}/infer": {"inputs": [TENSOR]},
    "/v2/models/{task}/versions/{version}/infer": {"inputs": [TENSOR]},
    "/tei/{task}/predict": {"inputs": "a"},
    "/classify": {"model": "t", "input": "a"},
}
UNUSUAL = {  # spellings of a body that fast parsers might pass on
    "plain": lambda body: body,
    "byte order mark": lambda body: b"\xef\xbb\xbf" + body,
    "white space": lambda body: b" \n\t" + body + b"\r\n",
    "the same field twice": lambda body: b'{"' + body[2:].split(b'"')[0] + b'": null, ' + body[1:],
}
HEADERS = {"Content-Type": "application/json"}
WITH_KEY = HEADERS | {"Authorization": f"Bearer {KEY}"}
by_endpoint = pytest.mark.parametrize("endpoint", PREDICTION_ENDPOINTS, ids=lambda endpoint: endpoint.path)


@pytest.fixture(scope="module")
def server(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    with listening(tiny, tmp_path_factory.mktemp("prefix"), root_path=PREFIX, require_key=True) as server:
        data = make_adapter_bytes(identity=tiny.identity)
        assert server.request("POST", "/admin/v1/tasks/t/versions", UPLOAD, data)[0] == 201
        yield server


@pytest.fixture(scope="module")
def urls(server: Listening, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with nginx(tmp_path_factory.mktemp("conf"), server.port, PREFIX) as urls:
        yield urls


def filled(endpoint: Endpoint) -> tuple[str, bytes]:
    return endpoint.path.format(task="t", version=1), json.dumps(BODIES[endpoint.path]).encode()


@by_endpoint
@pytest.mark.parametrize("spelling", UNUSUAL)
@pytest.mark.parametrize("place", ["", PREFIX])
def test_under_a_prefix(server: Listening, endpoint: Endpoint, spelling: str, place: str) -> None:
    """Over HTTP/1.1, a request with a key gets its prediction, without one 401, however its body is written."""
    path, body = filled(endpoint)
    body = UNUSUAL[spelling](body)
    status, answer = server.request("POST", place + path, WITH_KEY, body)
    assert (status, b'"error"' in answer) == (200, False), answer
    assert any(name in answer for name in (b'"predictions"', b'"outputs"', b'"score"', b'"probs"'))
    status, answer = server.request("POST", place + path, HEADERS, body)
    assert status == 401
    assert b"this request needs a key" in answer


@by_endpoint
@pytest.mark.parametrize("way", WAYS)
def test_behind_nginx(urls: dict[str, str], endpoint: Endpoint, way: str) -> None:
    """The same through a proxy that keeps or strips the prefix, with HTTP/1.0 or HTTP/1.1 to the server."""
    path, body = filled(endpoint)
    with httpx.Client(base_url=urls[way], trust_env=False, timeout=60) as client:
        answer = client.post(path, content=body, headers=WITH_KEY)
        assert (answer.status_code, "error" in answer.text) == (200, False), answer.text
        assert client.post(path, content=body, headers=HEADERS).status_code == 401
        chunked = client.post(path, content=iter([body[:5], body[5:]]), headers=WITH_KEY)
        assert (chunked.status_code, len(chunked.text) > 20) == (200, True)


@by_endpoint
@pytest.mark.parametrize("headers", [WITH_KEY, HEADERS], ids=["key", "no key"])
@pytest.mark.parametrize("place", ["", PREFIX])
def test_a_path_with_a_line_break_is_not_found(
    server: Listening, endpoint: Endpoint, headers: dict[str, str], place: str
) -> None:
    """FastAPI's pattern of the path matches a line break at its end, the endpoint's does not: 404, not an answer."""
    path, body = filled(endpoint)
    status, answer = server.request("POST", f"{place}{path}%0a", headers, body)
    assert status == 404
    assert b'"not_found"' in answer or b'"NotFoundError"' in answer or b'"Validation"' in answer


@pytest.mark.parametrize("require_key", [True, False])
@pytest.mark.parametrize("root_path", ["", PREFIX])
def test_the_described_routes_never_answer(
    tiny: LoadedBackbone,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    require_key: bool,
    root_path: str,
) -> None:
    """If no endpoint matched a prediction, FastAPI's route would answer 404 without reading the body."""
    folder = tmp_path_factory.mktemp("described")
    with running(tiny, folder, require_key=require_key, root_path=root_path) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        monkeypatch.setattr(Endpoint, "match", lambda *_: None)
        for endpoint in PREDICTION_ENDPOINTS:
            path, body = filled(endpoint)
            for headers in (WITH_KEY, HEADERS):
                for content in (body, b"{", b""):
                    assert client.post(root_path + path, content=content, headers=headers).status_code == 404


def test_other_methods_have_the_shape_of_the_protocol(tiny: LoadedBackbone, tmp_path_factory: Any) -> None:
    """405 names the methods that the path takes, in the protocol's words."""
    with running(tiny, tmp_path_factory.mktemp("methods")) as client:
        for endpoint in PREDICTION_ENDPOINTS:
            answer = client.get(filled(endpoint)[0])
            assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
            assert answer.json().keys() == _error_fields(client, endpoint)


def _error_fields(client: TestClient, endpoint: Endpoint) -> Any:
    return client.post(filled(endpoint)[0], content=b"{", headers=HEADERS).json().keys()
