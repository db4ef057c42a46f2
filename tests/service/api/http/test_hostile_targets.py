"""Numbers of thousands of digits, and invalid characters, in paths, queries, headers and fields: never a 500."""

import json
from collections.abc import Iterator

import pytest

from adapters.backbone.source import LoadedBackbone
from tests.support.factories import make_adapter_bytes
from tests.support.serving import ADMIN, UPLOAD, Listening, listening

NINES, ZEROS = "9" * 5000, "0" * 5000 + "1"
JSON = {"Content-Type": "application/json"}
GOOD, TENSOR = b'{"inputs": "a"}', {"name": "text", "shape": [1], "datatype": "BYTES"}
CHARACTERS = ("%ED%A0%80", "%00", "%FF", "%0A", "%2F", "%C3%A9", "%F4%90%80%80", "%", "%ZZ")
TARGETS = [
    ("POST", "/v1/{}/predict", GOOD),
    ("POST", "/v1/t@{}/predict", GOOD),
    ("POST", "/v2/models/{}/infer", b"{}"),
    ("POST", "/v2/models/t/versions/{}/infer", b"{}"),
    ("GET", "/v2/models/t/versions/{}", None),
    ("GET", "/v2/models/t/versions/{}/ready", None),
    ("GET", "/v2/models/{}", None),
    ("POST", "/tei/{}/predict", GOOD),
    ("GET", "/v1/tasks/{}", None),
    ("GET", "/v1/tasks/t@{}", None),
    ("GET", "/admin/v1/tasks/{}", None),
    ("GET", "/admin/v1/tasks/t/versions/{}", None),
    ("GET", "/admin/v1/tasks/t/versions/{}/adapter", None),
    ("DELETE", "/admin/v1/tasks/t/versions/{}", None),
    ("PUT", "/admin/v1/tasks/t/aliases/{}", b'{"version": 1}'),
    ("DELETE", "/admin/v1/tasks/t/aliases/{}", None),
    ("PUT", "/admin/v1/tasks/{}/weight", b'{"weight": 1}'),
    ("POST", "/admin/v1/tasks/{}/versions", b"a"),
    ("POST", "/admin/v1/tasks/{}/rollback", None),
    ("DELETE", "/admin/v1/keys/{}", None),
    ("GET", "/admin/v1/audit?limit={}", None),
    ("GET", "/admin/v1/audit?before={}", None),
    ("GET", "/admin/v1/audit?task={}", None),
    ("GET", "/{}", None),
    ("GET", "/console/{}", None),
]
HEADERS = [
    ("POST", "/v1/t/predict", "X-Request-Timeout-Ms", GOOD),
    ("POST", "/classify", "X-Request-Timeout-Ms", b'{"model": "t", "input": "a"}'),
    ("POST", "/v2/models/t/infer", "Inference-Header-Content-Length", b'{"inputs": []}'),
    ("PUT", "/admin/v1/tasks/t/aliases/canary", "If-Match", b'{"version": 1}'),
    ("PUT", "/admin/v1/tasks/t/aliases/canary", "If-None-Match", b'{"version": 1}'),
    ("POST", "/admin/v1/tasks/t/rollback", "If-Match", None),
    ("POST", "/admin/v1/tasks/t/versions", "Content-Digest", b"a"),
]


@pytest.fixture(scope="module")
def server(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    """A server on a socket, with one task."""
    with listening(tiny, tmp_path_factory.mktemp("data"), log_level="error") as server:
        data = make_adapter_bytes(identity=tiny.identity)
        assert server.request("POST", "/admin/v1/tasks/t/versions", UPLOAD, data)[0] == 201
        yield server


def check(server: Listening, caplog: pytest.LogCaptureFixture, method: str, path: str, **sent: object) -> int:
    """The status, which is no server's error; nothing of it is in the log."""
    headers, body = sent.get("headers", {}), sent.get("body")
    kind = UPLOAD if path.endswith("/versions") else ADMIN | JSON
    assert isinstance(headers, dict)
    status, content = server.request(method, path, kind | headers, body)  # type: ignore[arg-type]
    assert 200 <= status < 500, content[:200]
    assert len(content) < 6000 or status == 200
    assert "a bug, or a fault of the system" not in caplog.text
    return status


@pytest.mark.parametrize(("method", "target", "body"), TARGETS)
def test_paths_and_queries(
    server: Listening, caplog: pytest.LogCaptureFixture, method: str, target: str, body: bytes | None
) -> None:
    """A name or number of 5,000 digits, or of what is no text, is a client's error."""
    for value in (NINES, ZEROS, "-1", "1e5", "9" * 18, "9" * 19, "%D9%A3", *CHARACTERS, "a" + "%ED%A0%80"):
        check(server, caplog, method, target.format(value), body=body)


@pytest.mark.parametrize(("method", "path", "header", "body"), HEADERS)
def test_headers(
    server: Listening, caplog: pytest.LogCaptureFixture, method: str, path: str, header: str, body: bytes | None
) -> None:
    """The same in header fields."""
    for value in (NINES, f'"{NINES}"', "-1", "1e5", "9" * 19, "\u00b2", "\xff", ""):
        assert check(server, caplog, method, path, headers={header: value}, body=body) in (200, 409, 412, 415, 422)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/t/predict", '{"inputs": "a", "top_k": %s}'),
        ("/v1/predict", '{"inputs": "a", "tasks": ["t"], "top_k": %s}'),
        ("/v2/models/t/infer", '{"inputs": [{"name": "text", "shape": [%s], "datatype": "BYTES", "data": ["a"]}]}'),
        ("/v2/models/t/infer", json.dumps({"inputs": [TENSOR | {"parameters": {"binary_data_size": 0}}]})),
        (
            "/v2/models/t/infer",
            '{"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}], '
            '"outputs": [{"name": "scores", "parameters": {"classification": %s}}]}',
        ),
        ("/classify", '{"model": "t", "input": "a", "truncate_prompt_tokens": %s}'),
        ("/admin/v1/tasks/t/aliases/canary", '{"version": %s}'),
        ("/admin/v1/tasks/t/weight", '{"weight": %s}'),
    ],
)
def test_fields(server: Listening, caplog: pytest.LogCaptureFixture, path: str, body: str) -> None:
    """And in the fields of bodies, as numbers and as texts."""
    method = "PUT" if path.startswith("/admin") else "POST"
    for value in ("9" * 4300, NINES, "-" + NINES, "1e400", "-1", "0", "1.5", f'"{NINES}"', "9" * 19, f"[{NINES}]"):
        given = body.replace("%s", value).replace('"binary_data_size": 0', f'"binary_data_size": {value}')
        check(server, caplog, method, path, body=given.encode())
