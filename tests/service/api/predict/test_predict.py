"""POST /v1/{task}/predict and GET /v1/tasks: the answers and options of every kind of task."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from adapters import checkpoint
from adapters.backbone.source import LoadedBackbone
from adapters.backbone.text_encoder import TextInput
from adapters.serving.inference import predict_logits
from service.api.predict.examples import PREDICT_REQUESTS
from service.api.predict.schemas import PredictResponse
from service.inference.predictor import max_num_tokens
from tests.support.factories import make_adapter_bytes
from tests.support.serving import ADMIN, predict, refusal, running, upload


def test_single_label(client: TestClient, tiny: LoadedBackbone, files: dict[str, bytes]) -> None:
    """The answer is what the adapter computes alone, and names task, version, digest and timings."""
    answer = predict(client, "single", ["a good film", "a dull plot"])
    adapter = checkpoint.parse(files["single"])
    logits = predict_logits(tiny, adapter, ["a good film", "a dull plot"])
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert (answer["task"], answer["version"], answer["digest"]) == ("single", 1, adapter.digest)
    assert set(answer["timings_ms"]) == {"tokenize", "queue", "inference"}
    for prediction, row in zip(answer["predictions"], expected, strict=True):
        assert list(prediction["scores"].values()) == pytest.approx(row.tolist(), abs=1e-5)
        assert prediction["label"] == ("negative", "positive")[row.argmax()]
        assert prediction["score"] == max(prediction["scores"].values())
        assert prediction["truncated"] is False
    assert [prediction["tokens"] for prediction in answer["predictions"]] == [5, 5]


def test_multi_label_and_regression(client: TestClient) -> None:
    """A multi-label task lists the labels above one half; a regression gives a value."""
    (prediction,) = predict(client, "multi", "a good film")["predictions"]
    assert prediction["labels"] == [label for label, score in prediction["scores"].items() if score >= 0.5]
    (value,) = predict(client, "value", [["a cat", "a dog"]])["predictions"]
    assert set(value) == {"value", "truncated", "tokens"}


@pytest.mark.parametrize(
    ("inputs", "number"),
    [
        ("a good film", 1),
        (["a good film"], 1),
        (["a", "b", "c"], 3),
        ({"text": "a good film"}, 1),
        ([{"text": "a good film"}, "b"], 2),
    ],
)
def test_ways_to_write_texts(client: TestClient, inputs: Any, number: int) -> None:
    """A text, a list of texts, an object and a list of objects are all understood; a flat list is texts, not a pair."""
    assert len(predict(client, "single", inputs)["predictions"]) == number


@pytest.mark.parametrize(
    "inputs", [[["a cat", "a dog"]], {"text": "a cat", "text_pair": "a dog"}, [{"text": "a cat", "text_pair": "a dog"}]]
)
def test_ways_to_write_a_pair(client: TestClient, inputs: Any) -> None:
    """A pair is nested or an object, and each way gives the same answer."""
    predictions = predict(client, "pairs", inputs)["predictions"]
    reference = predict(client, "pairs", [["a cat", "a dog"]])["predictions"]
    assert predictions[0]["scores"] == pytest.approx(reference[0]["scores"])


def test_top_k_and_raw_scores(client: TestClient) -> None:
    """top_k keeps the best labels, best first; raw_scores shows logits."""
    (prediction,) = predict(client, "pairs", [["a", "b"]], top_k=2)["predictions"]
    scores = list(prediction["scores"].values())
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)
    assert next(iter(prediction["scores"])) == prediction["label"]
    (raw,) = predict(client, "pairs", [["a", "b"]], raw_scores=True)["predictions"]
    assert sum(raw["scores"].values()) != pytest.approx(1)
    assert raw["label"] == prediction["label"]


def test_temperature(client: TestClient, tiny: LoadedBackbone, files: dict[str, bytes]) -> None:
    """The server divides the logits by the file's temperature; raw scores are the logits; labels do not change."""
    text = "a good film"
    (logits,) = predict_logits(tiny, checkpoint.parse(files["warm"]), [text])
    expected = np.exp(logits / 2) / np.exp(logits / 2).sum()
    (warm,), (single,) = (predict(client, task, text)["predictions"] for task in ("warm", "single"))
    assert list(warm["scores"].values()) == pytest.approx(expected.tolist(), abs=1e-5)
    assert warm["label"] == single["label"]
    assert abs(warm["score"] - single["score"]) > 1e-3
    (raw,) = predict(client, "warm", text, raw_scores=True)["predictions"]
    assert list(raw["scores"].values()) == pytest.approx(logits.tolist(), abs=1e-5)
    (logits,) = predict_logits(tiny, checkpoint.parse(files["warm-multi"]), [text])
    (several,) = predict(client, "warm-multi", text)["predictions"]
    assert list(several["scores"].values()) == pytest.approx((1 / (1 + np.exp(-logits / 2))).tolist(), abs=1e-5)
    assert several["labels"] == predict(client, "multi", text)["predictions"][0]["labels"]


def test_over_long_text_is_reported_or_refused(client: TestClient) -> None:
    """A long text is cut and says so, from the end that was asked for; with `error` it is refused."""
    text = "one two three " * 60
    right, left = (predict(client, "single", text, truncation=side)["predictions"][0] for side in ("right", "left"))
    assert right["truncated"] is left["truncated"] is True
    assert right["tokens"] == 64
    message = refusal(client, "single", {"inputs": ["short", text], "truncation": "error"})
    assert "input 1 has more than 64 tokens" in message


def test_versions_and_aliases(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """`task@2` pins a version, `task@canary` an alias, and the bare name follows `live`."""
    with running(tiny, tmp_path) as client:
        for seed in range(3):
            upload(client, "t", make_adapter_bytes(identity=tiny.identity, seed=seed), activate=seed == 0)
        client.put("/admin/v1/tasks/t/aliases/canary", json={"version": 3}, headers=ADMIN)
        assert [predict(client, name, "a")["version"] for name in ("t", "t@2", "t@canary", "t@live")] == [1, 2, 3, 1]
        assert "t" in refusal(client, "t@9", {"inputs": "a"}, 404)
        assert "canary -> 3" in refusal(client, "t@other", {"inputs": "a"}, 404)


def test_scores_as_a_list(client: TestClient) -> None:
    """On request `scores` is a list, best first, of all labels or of the k best; a regression has none."""
    for task in ("single", "multi"):
        (given,) = predict(client, task, "a good film")["predictions"]
        ranked = sorted(given["scores"].items(), key=lambda item: -item[1])
        listed = [{"label": label, "score": score} for label, score in ranked]
        for top_k in (None, 1, 2):
            (found,) = predict(client, task, "a good film", scores_as="list", top_k=top_k)["predictions"]
            assert found == given | {"scores": listed[:top_k]}
            many = {"tasks": [task], "inputs": "a good film", "scores_as": "list", "top_k": top_k}
            (found,) = client.post("/v1/predict", json=many).json()["results"][task]["predictions"]
            assert found["scores"] == listed[:top_k]
    assert "scores" not in predict(client, "value", [["a", "b"]], scores_as="list")["predictions"][0]
    assert "'object' or 'list'" in refusal(client, "single", {"inputs": "a", "scores_as": "array"})


@pytest.mark.parametrize("task", ["single", "multi", "value"])
def test_answers_are_what_the_schema_says(client: TestClient, task: str) -> None:
    """The bytes of an answer are those that its documented model has."""
    inputs = [["a", "b"]] if task == "value" else ["a good film", "one two three " * 60]
    content = client.post(f"/v1/{task}/predict", json={"inputs": inputs}).content
    assert PredictResponse.model_validate_json(content).model_dump_json().encode() == content


def test_a_reserve_is_never_too_small(tiny: LoadedBackbone) -> None:
    """No text has more tokens than are reserved for it, whatever its script."""
    texts = ["a", "a good film", "한국어 각", "日本語です", "ế Å ﬁ ǆ", "é" * 9, "x.,-" * 30, "\U0001f600 ok"]
    inputs: list[TextInput] = [*texts, *zip(texts, reversed(texts), strict=True)]
    for item, encoding in zip(inputs, tiny.encoder.encode(inputs, max_length=128), strict=True):
        assert len(encoding) <= max_num_tokens(item, 128)


def test_list_of_tasks(client: TestClient) -> None:
    """GET /v1/tasks describes every live task, GET /v1/tasks/{task} one of them."""
    tasks = client.get("/v1/tasks").json()["tasks"]
    assert [item["task"] for item in tasks] == ["multi", "pairs", "single", "value", "warm", "warm-multi"]
    keys = {"task", "version", "digest", "type", "labels", "pair", "max_length", "truncation", "temperature"}
    assert all(set(item) == keys | {"context", "metrics"} for item in tasks)
    assert client.get("/v1/tasks/pairs").json() == tasks[1]
    assert [item["temperature"] for item in tasks] == [1.0, 1.0, 1.0, 1.0, 2.0, 2.0]
    assert client.get("/v1/tasks/pear").status_code == 404


def test_documented_examples_work(client: TestClient) -> None:
    """Every example request that /docs shows is answered by a task of its kind."""
    for name, example in PREDICT_REQUESTS.items():
        task = "pairs" if "pair" in name else "single"
        assert client.post(f"/v1/{task}/predict", json=example["value"]).status_code == 200, name
