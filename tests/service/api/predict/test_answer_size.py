"""The size of an answer is bounded before any work is done for it, on every route."""

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic_core import to_json

from adapters.backbone.source import LoadedBackbone
from adapters.config import TaskSpec
from service.api.predict.responses import MAX_ANSWER_BYTES, check_answer_size
from service.errors import InvalidInput
from tests.support.factories import make_adapter_bytes
from tests.support.serving import running, upload

LABELS = tuple(f"{number:0>4} " + "long label " * 4 for number in range(300))
NUM_INPUTS = 400  # 400 x 300 labels x 97 bytes are over the bound; a quarter of them is not


@pytest.fixture(scope="module")
def client(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running(tiny, tmp_path_factory.mktemp("answers")) as client:
        for number, task in enumerate(("many", "more", "most", "rest")):
            upload(client, task, make_adapter_bytes(identity=tiny.identity, labels=LABELS, seed=number))
        yield client


def infer(num_inputs: int, **parameters: Any) -> dict[str, Any]:
    text = {"name": "text", "datatype": "BYTES", "shape": [num_inputs], "data": ["a"] * num_inputs}
    return {"inputs": [text], "outputs": [{"name": "scores", "parameters": parameters}]}


ROUTES = {
    "/v1/many/predict": lambda n: {"inputs": ["a"] * n},
    "/v2/models/many/infer": infer,
    "/tei/many/predict": lambda n: {"inputs": [["a"]] * n},
    "/classify": lambda n: {"model": "many", "input": ["a"] * n},
}


@pytest.mark.parametrize("path", ROUTES)
def test_too_large_an_answer(client: TestClient, path: str) -> None:
    """A request whose answer could be over the bound is 422 and names the remedy; a quarter of it is answered."""
    answer = client.post(path, json=ROUTES[path](NUM_INPUTS))
    assert answer.status_code == 422
    assert "fewer inputs at a time" in answer.text
    answer = client.post(path, json=ROUTES[path](NUM_INPUTS // 4))
    assert answer.status_code == 200
    assert len(answer.content) <= MAX_ANSWER_BYTES


def test_the_best_labels_alone(client: TestClient) -> None:
    """top_k, and classification of the Open Inference Protocol, make an answer small enough."""
    inputs = ["a"] * NUM_INPUTS
    assert client.post("/v1/many/predict", json={"inputs": inputs, "top_k": 5}).status_code == 200
    assert client.post("/v2/models/many/infer", json=infer(NUM_INPUTS, classification=5)).status_code == 200


def test_several_tasks_share_the_bound(client: TestClient) -> None:
    """Tasks whose answers fit together answer; the others have the error instead."""
    body = {"inputs": ["a"] * 100, "tasks": ["many", "more", "most", "rest"]}
    results = client.post("/v1/predict", json=body).json()["results"]
    assert ["predictions" in results[task] for task in body["tasks"]] == [True, True, False, False]
    assert results["rest"]["status"] == 422


def test_the_bound_holds() -> None:
    """The size computed before the work is at least that of the scores as JSON, for any labels."""
    for labels in (LABELS, tuple(chr(0x4E00 + number) * 200 for number in range(300)), ("a", "b")):
        spec = TaskSpec(type="single_label", labels=labels, pair=False, pooling="mean", max_length=64)
        scores = [{"label": label, "score": 0.12345678901234567e-300} for label in labels]
        assert len(to_json(scores)) <= check_answer_size(1, spec)
        assert len(to_json(scores[:1])) <= check_answer_size(1, spec, top_k=1)
    with pytest.raises(InvalidInput, match="the limit is 8,388,608"):
        check_answer_size(1024, TaskSpec(type="single_label", labels=LABELS, pair=False, pooling="mean", max_length=64))


def test_the_largest_answer_takes_little_memory(client: TestClient) -> None:
    """The largest answer that is sent takes less than 32 MiB while it is built."""
    body = {"inputs": ["a"] * 280, "scores_as": "list"}
    client.post("/v1/many/predict", json=body)
    tracemalloc.start()
    try:
        answer = client.post("/v1/many/predict", json=body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.status_code == 200
    assert len(answer.content) > MAX_ANSWER_BYTES / 2
    assert peak < 32 * 1024 * 1024 + 3 * len(answer.content)  # the client of the test holds copies of its own
