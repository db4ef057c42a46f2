"""The Open Inference Protocol v2 by Triton's own client, compared with the native route."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from fastapi.testclient import TestClient
from tritonclient.utils import InferenceServerException

from adapters.backbone.source import LoadedBackbone
from service.publishing.checks import check_upload
from service.registry import Registry
from tests.support.factories import make_adapter_bytes
from tests.support.open_inference import LABELS, post, tensor
from tests.support.serving import ADMIN, Listening, listening, predict, settings_for

TEXTS = ["a good film", "a dull plot"]


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
