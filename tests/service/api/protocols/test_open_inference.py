"""The Open Inference Protocol v2: by Triton's own client, and by requests that it would not send."""

import json
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from fastapi.testclient import TestClient
from tritonclient.utils import InferenceServerException

from adapters.backbone.source import LoadedBackbone
from service.publishing.checks import check_upload
from service.registry import Registry, Snapshot
from tests.service.observability.test_metrics import scrape
from tests.support.factories import make_adapter_bytes
from tests.support.serving import ADMIN, Listening, listening, predict, running, settings_for, upload

LABELS = ("no", "maybe", "yes")
TASKS: dict[str, dict[str, Any]] = {
    "single": {"seed": 1, "labels": LABELS, "temperature": 2.0},
    "multi": {"seed": 2, "type": "multi_label", "labels": LABELS},
    "value": {"seed": 3, "type": "regression", "labels": ()},
    "pairs": {"seed": 4, "pair": True},
}
TEXTS = ["a good film", "a dull plot"]


@pytest.fixture(scope="module")
def folder(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The registry of both servers."""
    folder = tmp_path_factory.mktemp("data")
    with closing(Registry.open(settings_for(folder).resolved_registry_url)) as registry:
        for task, options in TASKS.items():
            registry.publish(task, check_upload(make_adapter_bytes(identity=tiny.identity, **options)))
        registry.publish(
            "single", check_upload(make_adapter_bytes(identity=tiny.identity, seed=9, labels=LABELS)), activate=False
        )
        registry.set_alias("single", "canary", 2)
    return folder


@pytest.fixture(scope="module")
def client(tiny: LoadedBackbone, folder: Path) -> Iterator[TestClient]:
    with running(tiny, folder, max_inputs=50) as client:
        yield client


@pytest.fixture(scope="module")
def server(tiny: LoadedBackbone, folder: Path) -> Iterator[Listening]:
    with listening(tiny, folder) as server:
        yield server


@pytest.fixture
def triton_client(server: Listening) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        yield client


def text_input(texts: Any, *, binary: bool = True) -> triton.InferInput:
    array = np.array(texts, dtype=object)
    tensor = triton.InferInput("text", list(array.shape), "BYTES")
    return tensor.set_data_from_numpy(array, binary_data=binary)


def scores_of(client: TestClient, task: str, inputs: Any, **options: Any) -> np.ndarray:
    """The scores of the native route, [N, number of labels]."""
    predictions = predict(client, task, inputs, **options)["predictions"]
    return np.array([list(item.get("scores", {"": item.get("value")}).values()) for item in predictions])


def post(client: TestClient, body: Any, path: str = "single", **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(f"/v2/models/{path}/infer", content=content, headers=headers)


def tensor(data: Any, **changes: Any) -> dict[str, Any]:
    return {"name": "text", "shape": [len(data)], "datatype": "BYTES", "data": data} | changes


def test_server_and_models(triton_client: triton.InferenceServerClient) -> None:
    """Triton's client finds the server alive and ready, and reads what it and its models are."""
    assert triton_client.is_server_live()
    assert triton_client.is_server_ready()
    assert "binary_tensor_data" in triton_client.get_server_metadata()["extensions"]
    assert triton_client.is_model_ready("single")
    assert triton_client.is_model_ready("single", "2")
    assert not triton_client.is_model_ready("nothing")
    assert not triton_client.is_model_ready("single", "3")
    metadata = triton_client.get_model_metadata("single")
    assert metadata == triton_client.get_model_metadata("single@canary")
    assert (metadata["name"], metadata["versions"]) == ("single", ["1", "2"])
    assert metadata["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert metadata["outputs"][0] == {"name": "scores", "datatype": "FP32", "shape": [-1, 3], "labels": list(LABELS)}
    assert triton_client.get_model_metadata("pairs")["inputs"][0]["shape"] == [-1, 2]
    with pytest.raises(InferenceServerException, match="did you mean single"):
        triton_client.get_model_metadata("singel")


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_scores_and_logits(
    triton_client: triton.InferenceServerClient, client: TestClient, binary_in: bool, binary_out: bool
) -> None:
    """Binary or JSON, each way: the numbers of the native route."""
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("logits", "scores")]
    for task in ("single", "multi", "value"):
        result = triton_client.infer(task, [text_input(TEXTS, binary=binary_in)], outputs=outputs, request_id="7")
        for name, raw in (("scores", False), ("logits", True)):
            found = result.as_numpy(name)
            assert found.dtype == np.float32
            assert found == pytest.approx(scores_of(client, task, TEXTS, raw_scores=raw), abs=1e-5)
    answer = result.get_response()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("value", "1", "7")
    assert answer["parameters"]["num_truncated"] == 0


def test_pairs_columns_and_no_outputs_named(triton_client: triton.InferenceServerClient, client: TestClient) -> None:
    """[N, 2] is pairs, [N, 1] texts; where no output is named it is the scores, in binary."""
    result = triton_client.infer("pairs", [text_input([["a cat", "a dog"], ["a", "b"]])])
    expected = scores_of(client, "pairs", [["a cat", "a dog"], ["a", "b"]])
    assert result.as_numpy("scores") == pytest.approx(expected, abs=1e-5)
    result = triton_client.infer("single", [text_input([[text] for text in TEXTS])])
    assert result.as_numpy("scores") == pytest.approx(scores_of(client, "single", TEXTS), abs=1e-5)
    assert result.get_output("scores")["parameters"] == {"binary_data_size": 24}


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("number", [1, 2, 9])
def test_classification(
    triton_client: triton.InferenceServerClient, client: TestClient, number: int, binary: bool
) -> None:
    """The best labels as "score:index:label", best first."""
    outputs = [triton.InferRequestedOutput("scores", binary_data=binary, class_count=number)]
    found = triton_client.infer("single", [text_input(TEXTS)], outputs=outputs).as_numpy("scores")
    scores = scores_of(client, "single", TEXTS)
    assert found.shape == (2, min(number, 3))
    for row, expected in zip(found.tolist(), scores, strict=True):
        parts = [(item.decode() if binary else item).split(":") for item in row]
        assert [float(score) for score, _, _ in parts] == pytest.approx(
            sorted(expected, reverse=True)[:number], abs=2e-6
        )
        assert [LABELS[int(index)] for _, index, _ in parts] == [label for _, _, label in parts]
    found = triton_client.infer("value", [text_input(TEXTS)], outputs=outputs).as_numpy("scores")
    assert all(len((item.decode() if binary else item).split(":")) == 2 for item in found.ravel().tolist())


def test_versions_and_aliases(triton_client: triton.InferenceServerClient, client: TestClient) -> None:
    """A version by its number, an alias in the name."""
    for name, version, expected in [("single", "2", "2"), ("single@canary", "", "2"), ("single", "", "1")]:
        result = triton_client.infer(name, [text_input(TEXTS)], model_version=version)
        assert result.get_response()["model_version"] == expected
        assert result.as_numpy("scores") == pytest.approx(scores_of(client, f"single@{expected}", TEXTS), abs=1e-5)
    with pytest.raises(InferenceServerException, match="no version 9") as raised:
        triton_client.infer("single", [text_input(TEXTS)], model_version="9")
    assert raised.value.status() == "404"
    with pytest.raises(InferenceServerException):
        triton_client.infer("single@canary", [text_input(TEXTS)], model_version="2")


def test_truncation(client: TestClient) -> None:
    """A parameter, as the native option; what was cut is counted."""
    text = "one two three " * 60
    for side in ("left", "right"):
        answer = post(client, {"inputs": [tensor(["a", text])], "parameters": {"truncation": side}}).json()
        assert answer["parameters"]["num_truncated"] == 1
        expected = scores_of(client, "single", ["a", text], truncation=side)
        assert answer["outputs"][0]["data"] == pytest.approx(expected.ravel().tolist(), abs=1e-5)
    response = post(client, {"inputs": [tensor([text])], "parameters": {"truncation": "error"}})
    assert (response.status_code, "more than 64 tokens" in response.json()["error"]) == (422, True)


def binary(texts: bytes, shape: list[int], size: Any = None, **changes: Any) -> tuple[bytes, dict[str, str]]:
    """A body with binary tensor data, and its header."""
    given = {"name": "text", "shape": shape, "datatype": "BYTES"}
    given["parameters"] = {"binary_data_size": len(texts) if size is None else size}
    head = json.dumps({"inputs": [given | changes]}).encode()
    return head + texts, {"Inference-Header-Content-Length": str(len(head))}


GOOD = struct.pack("<I", 3) + b"cat"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "inputs"),
        ([], "must be a JSON object"),
        ({"inputs": []}, "inputs"),
        ({"inputs": [tensor(["a"], name="x")]}, "must have one input"),
        ({"inputs": [tensor(["a"]), tensor(["a"])]}, "must have one input"),
        ({"inputs": [tensor([1.5], datatype="FP32")]}, "texts must be BYTES"),
        ({"inputs": [tensor([1])]}, "must be a text"),
        ({"inputs": [tensor(["a", "b"], shape=[3])]}, "has 2 elements"),
        ({"inputs": [tensor(["a"], shape=[-1])]}, "shape.0: Input should be greater"),
        ({"inputs": [tensor(["a", "b"], shape=[1, 2])]}, "is a pair"),
        ({"inputs": [tensor(["a", "b", "c"], shape=[1, 3])]}, "it must be [N]"),
        ({"inputs": [tensor(["a"], shape=[1, 1, 1])]}, "it must be [N]"),
        ({"inputs": [tensor([])]}, "inputs is empty"),
        ({"inputs": [tensor(["a"] * 51)]}, "at most 50"),
        ({"inputs": [tensor([" "])]}, "input 0 is empty"),
        ({"inputs": [tensor(["\u200b"])]}, "input 0 is empty"),
        ({"inputs": [tensor(["a"])], "outputs": [{"name": "x"}]}, "outputs must be"),
        ({"inputs": [tensor(["a"])], "outputs": [{"name": "scores"}] * 2}, "each at most once"),
        ({"inputs": [tensor(["a"])], "outputs": [{"name": "scores", "parameters": {"classification": 0}}]}, "from 1"),
        ({"inputs": [tensor(["a"])], "parameters": {"truncation": "middle"}}, "truncation must be"),
        ({"inputs": [tensor(["a"])], "parameters": {"truncation": []}}, "truncation must be"),
        ({"inputs": [tensor(["a"], parameters={"binary_data_size": 4})]}, "send one of them"),
        (binary(GOOD, [1], 99), "binary_data_size is 99"),
        (binary(GOOD, [1], "7"), "binary_data_size is '7'"),
        (binary(GOOD, [1], True), "binary_data_size is True"),
        (binary(GOOD[:-1], [1]), "ends after the binary data"),
        (binary(GOOD + b"\1\0", [1]), "inside a length field"),
        (binary(struct.pack("<I", 1) + b"\xff", [1]), "not UTF-8"),
        (binary(struct.pack("<I", 2**32 - 1) + b"a", [1]), "ends after the binary data"),
        (binary(GOOD * 2, [1]), "more elements than its shape, 1"),
        ({"inputs": [tensor(["a"], shape=[9] * 9)]}, "shape: List should have at most 8 items"),
        ({"inputs": [tensor(["a"], shape=[51])]}, "at most 50"),
        ({"inputs": [tensor(["a"], shape=[10**100])]}, "shape.0: Input should be less"),
        ((b'{"inputs": []}', {"Inference-Header-Content-Length": "9" * 5000}), "must be the number of bytes"),
        ((b'{"inputs": []}', {"Inference-Header-Content-Length": "999"}), "must be the number of bytes"),
        ((b'{"inputs": []}', {"Inference-Header-Content-Length": "-1"}), "must be the number of bytes"),
    ],
)
def test_what_cannot_be_understood(client: TestClient, body: Any, message: str) -> None:
    """Is 422, and says why."""
    content, headers = body if isinstance(body, tuple) else (body, {})
    response = post(client, content, **headers)
    assert response.status_code == 422, response.text
    assert message in response.json()["error"]


def test_other_refusals(client: TestClient) -> None:
    """No JSON, a compressed body, a pair task with texts, an unknown task, a time limit: the service's own answers."""
    assert post(client, b"{").json()["error_type"] == "malformed_json"
    assert post(client, b"\xff\xfe").status_code == 400
    body = {"inputs": [tensor(["a"])]}
    response = post(client, body, **{"Content-Encoding": "gzip"})
    assert (response.status_code, response.json()["reason"]) == (415, "content_encoding")
    assert "the shape of their tensor is [N, 2]" in post(client, body, "pairs").json()["error"]
    assert post(client, body, "nothing").status_code == 404
    assert post(client, body, **{"X-Request-Timeout-Ms": "x"}).status_code == 422
    assert post(client, b" " * (3 << 20)).status_code == 413


def test_metrics(client: TestClient) -> None:
    """Inferences are counted as predictions are, by task and code."""
    before = scrape(client)
    post(client, {"inputs": [tensor(["a"])]})
    post(client, {"inputs": [tensor([""])]}, "single/versions/2")
    post(client, {}, "nothing")
    after = scrape(client)
    for task, code in (("single", "200"), ("single", "422"), ("_other", "404")):
        key = "adakron_requests_total", (("code", code), ("task", task))
        assert after[key] - before.get(key, 0) == 1


def test_no_permit(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """Is 429 with Retry-After, which Triton's client shows as its error."""
    with running(tiny, tmp_path) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        client.app_state["server"].admission.num_requests = 10**6
        response = post(client, {"inputs": [tensor(["a"])]}, "t")
        client.app_state["server"].admission.num_requests = 0
        assert (response.status_code, response.json()["error_type"]) == (429, "overloaded")
        assert int(response.headers["Retry-After"]) >= 1
        assert post(client, {"inputs": [tensor(["a"])]}, "t").status_code == 200


def test_not_ready(tiny: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that drains is alive and not ready; a model whose bytes are damaged is not ready."""
    with running(tiny, tmp_path) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        state = client.app_state["server"]
        damaged = replace(state.follower.snapshot.resolve("t"), quarantined=True)
        monkeypatch.setattr(Snapshot, "resolve", lambda *_: damaged)
        response = client.get("/v2/models/t/ready")
        assert (response.status_code, response.json()) == (503, {"name": "t", "ready": False})
        state.draining.set()
        assert client.get("/v2/health/live").json() == {"live": True}
        response = client.get("/v2/health/ready")
        assert (response.status_code, response.json()) == (503, {"ready": False})


def test_keys(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """Models need a key where predictions do, and Triton's client can send it; health does not."""
    with closing(Registry.open(settings_for(tmp_path).resolved_registry_url)) as registry:
        registry.publish("t", check_upload(make_adapter_bytes(identity=tiny.identity)))
    with listening(tiny, tmp_path, require_key=True) as server:
        client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
        assert client.is_server_ready()
        assert not client.is_model_ready("t")
        with pytest.raises(InferenceServerException, match="this request needs a key"):
            client.infer("t", [text_input(TEXTS)])
        assert client.infer("t", [text_input(TEXTS)], headers=dict(ADMIN)).as_numpy("scores").shape == (2, 2)
        client.close()
