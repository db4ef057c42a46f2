"""Bodies in JSON: the same fault has the same answer on every route that takes one, and none is a server's error."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from adapters.backbone.source import LoadedBackbone
from service.api.http.body import parse_json
from service.errors import InvalidInput, MalformedJson
from tests.support.factories import make_adapter_bytes
from tests.support.serving import ADMIN, running, upload

TENSOR = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}
ROUTES: dict[str, dict[str, Any]] = {  # what each answers well
    "/v1/single/predict": {"inputs": "a"},
    "/v1/predict": {"inputs": "a", "tasks": ["single"]},
    "/v2/models/single/infer": {"id": "1", "inputs": [TENSOR]},
    "/v2/models/single/versions/1/infer": {"inputs": [TENSOR]},
    "/classify": {"model": "single", "input": "a"},
    "/tei/single/predict": {"inputs": "a"},
    "/admin/v1/keys": {"name": "a", "scopes": ["predict"], "tasks": ["single"]},
    "/admin/v1/tasks/single/aliases/canary": {"version": 1},
    "/admin/v1/tasks/single/weight": {"weight": 1.0},
}
MALFORMED = {
    "no end": b'{"a": ',
    "apostrophes": b"{'a': 1}",
    "two values": b'{"a": 1} 2',
    "no UTF-8": b'{"a": "\xff"}',
    "UTF-8 of half a surrogate pair": b'{"a": "\xed\xa0\x80"}',
    "UTF-16": '{"a": "b"}'.encode("utf-16"),
    "depth": b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}",
    "huge integer": b'{"a": ' + b"9" * 5000 + b"}",
    "huge integer's fraction": b'{"a": ' + b"9" * 5000 + b".5}",
    "NaN": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "control character": b'{"a": "\x01"}',
    "comment": b'{"a": 1} // b',
}
NOT_A_REQUEST = {"list": b"[]", "text": b'"a"', "number": b"1", "null": b"null", "nothing": b"", "white space": b" \n"}


@pytest.fixture(scope="module")
def client(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server with one task."""
    with running(tiny, tmp_path_factory.mktemp("data")) as client:
        upload(client, "single", make_adapter_bytes(identity=tiny.identity))
        yield client


def send(client: TestClient, path: str, body: bytes, **headers: str) -> httpx.Response:
    """The answer of a route to a body, by PUT where the route is one."""
    method = "PUT" if "/tasks/" in path else "POST"
    return client.request(method, path, content=body, headers=ADMIN | {"Content-Type": "application/json"} | headers)


def error(response: httpx.Response) -> str:
    """The message of an error, in any protocol's shape."""
    given = response.json()["error"]
    message: str = given["message"] if isinstance(given, dict) else given
    return message


@pytest.mark.parametrize("path", ROUTES)
def test_what_is_sound(client: TestClient, path: str) -> None:
    """JSON with a byte order mark, other spaces, escapes, a charset, another JSON type or no coding is taken."""
    body = json.dumps(ROUTES[path], indent=1).encode()
    assert send(client, path, body).status_code in (200, 201)
    assert send(client, path, b"\xef\xbb\xbf" + body).status_code in (200, 201)
    for type_ in ("application/json; charset=utf-8", "application/problem+json", "Application/JSON ;a=b"):
        assert send(client, path, body, **{"Content-Type": type_}).status_code in (200, 201), type_
    assert send(client, path, body, **{"Content-Encoding": "identity"}).status_code in (200, 201)


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("fault", MALFORMED)
def test_what_cannot_be_read_as_json(client: TestClient, path: str, fault: str) -> None:
    """Is 400 on every route, with the place in the body."""
    response = send(client, path, MALFORMED[fault])
    assert response.status_code == 400, response.text
    assert "the body cannot be read as JSON: " in error(response)
    assert "line 1 column" in error(response)
    if path not in ("/classify", "/tei/single/predict"):
        assert response.json()["error_type"] == "malformed_json"


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("fault", NOT_A_REQUEST)
def test_json_that_is_no_object(client: TestClient, path: str, fault: str) -> None:
    """Is 422 on every route and names what to send."""
    response = send(client, path, NOT_A_REQUEST[fault])
    assert response.status_code == 422, response.text
    assert "must be a JSON object with Content-Type: application/json" in error(response)


@pytest.mark.parametrize("path", ROUTES)
def test_compressed_bodies(client: TestClient, path: str) -> None:
    """Are 415 on every route, with the reason where the protocol has one."""
    response = send(client, path, gzip.compress(json.dumps(ROUTES[path]).encode()), **{"Content-Encoding": "gzip"})
    assert (response.status_code, "without Content-Encoding" in error(response)) == (415, True)
    if path not in ("/classify", "/tei/single/predict"):
        assert response.json()["reason"] == "content_encoding"


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "tasks/single/rollback"), ("DELETE", "tasks/single/aliases/none"), ("DELETE", "keys/none")],
)
def test_compressed_bodies_where_none_is_needed(client: TestClient, method: str, path: str) -> None:
    """Are 415, too, rather than dropped without a word."""
    body = gzip.compress(b"{}")
    response = client.request(method, f"/admin/v1/{path}", content=body, headers=ADMIN | {"Content-Encoding": "gzip"})
    assert (response.status_code, response.json()["reason"]) == (415, "content_encoding")


@pytest.mark.parametrize("path", [path for path in ROUTES if not path.startswith("/v2")])
def test_other_types(client: TestClient, path: str) -> None:
    """A body of another Content-Type is 422 in one line that names the remedy; /v2 does not look at it."""
    response = send(client, path, json.dumps(ROUTES[path]).encode(), **{"Content-Type": "text/plain"})
    assert response.status_code == 422
    assert error(response) == "the body must be a JSON object with Content-Type: application/json, not 'text/plain'"


def strings(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all texts and names of fields in `value`."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(item, str):
            yield (*at, key)
        elif isinstance(item, dict | list):
            yield from strings(item, (*at, key))


@pytest.mark.parametrize(("path", "place"), [(path, place) for path, body in ROUTES.items() for place in strings(body)])
@pytest.mark.parametrize("text", ["\ud800", "a\udfff", "\ud83d\ud83d", "\0", "a\0b", "\x1b[31m", "\uffff"])
def test_texts_that_no_table_or_tokenizer_takes(
    client: TestClient, caplog: pytest.LogCaptureFixture, path: str, place: tuple[Any, ...], text: str
) -> None:
    """Half a surrogate pair is 422 in every field; no character in any field is a server's error."""
    body = json.loads(json.dumps(ROUTES[path]))
    inner = body
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = text
    response = send(client, path, json.dumps(body).encode())
    assert 200 <= response.status_code < 500, response.text
    if any("\ud800" <= character <= "\udfff" for character in text):
        assert (response.status_code, "not valid Unicode" in error(response)) == (422, True)
    assert "a bug, or a fault of the system" not in caplog.text


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/classify", {"error": {"message": str, "type": "InternalServerError", "param": None, "code": 500}}),
        ("/tei/single/predict", {"error": str, "error_type": "Backend"}),
        ("/v2/models/single/infer", {"error": str, "error_type": "internal"}),
    ],
)
def test_a_bug_has_the_shape_of_the_protocol(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, path: str, shape: Any
) -> None:
    """A fault of the server itself has only the fields of the route's protocol, and a traceback in the log."""
    monkeypatch.setattr("service.scheduling.admission.Admission.reserve", lambda *_: 1 / 0)
    response = send(client, path, json.dumps(ROUTES[path]).encode())
    text = "internal error; the server's log has the details"
    assert response.status_code == 500
    assert json.dumps(response.json()) == json.dumps(shape, default=lambda _: text)
    assert "a bug, or a fault of the system" in caplog.text


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"[" + b"1," * 2051 + b"1]", None),
        (b"[" + b"1," * 2052 + b"1]", InvalidInput),
        (b'["' + b",[{" * 9000 + b'"]', None),
        (rb'["' + rb"\"," * 9000 + b'"]', None),
        (rb'["' + rb"\\" * 9000 + rb'",' + b"1," * 2052 + b"1]", InvalidInput),
        (rb'["' + rb"\\" * 9000 + rb'\",",' + b"1," * 2040 + b"1]", None),
        (b'["",' + b'"",' * 9000 + b'""]', InvalidInput),
        (b'"' * 20000, MalformedJson),
        (b'["' + b"," * 9000, MalformedJson),
    ],
)
def test_values_are_counted_outside_of_texts(body: bytes, error: type[Exception] | None) -> None:
    """The bound counts commas and opening brackets outside of texts, whatever is escaped in them."""
    if error is None:
        assert isinstance(parse_json(body, 1), list)
    else:
        with pytest.raises(error):
            parse_json(body, 1)
