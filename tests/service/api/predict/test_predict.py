"""POST /v1/{task}/predict and GET /v1/tasks: answers, and every kind of bad input."""

from collections.abc import Iterator
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
from tests.support.serving import ADMIN, predict, running, upload

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def files(tiny: LoadedBackbone) -> dict[str, bytes]:
    """One adapter of each kind."""
    identity = tiny.identity
    return {
        "single": make_adapter_bytes(identity=identity, seed=1),
        "multi": make_adapter_bytes(identity=identity, seed=2, type="multi_label", labels=("x", "y", "z")),
        "value": make_adapter_bytes(identity=identity, seed=3, type="regression", labels=(), pair=True),
        "pairs": make_adapter_bytes(identity=identity, seed=4, pair=True, labels=("no", "maybe", "yes")),
        "warm": make_adapter_bytes(identity=identity, seed=1, temperature=2.0),
        "warm-multi": make_adapter_bytes(
            identity=identity, seed=2, type="multi_label", labels=("x", "y", "z"), temperature=2.0
        ),
    }


@pytest.fixture(scope="module")
def client(
    tiny: LoadedBackbone, files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    with running(tiny, tmp_path_factory.mktemp("data"), max_inputs=50, max_body_bytes=100_000) as client:
        for task, data in files.items():
            upload(client, task, data)
        yield client


def refusal(client: TestClient, task: str, body: Any, status: int = 422) -> str:
    """The message of a refusal, whose shape is checked."""
    content = {"content": body} if isinstance(body, str | bytes) else {"json": body}
    response = client.post(f"/v1/{task}/predict", headers={"Content-Type": "application/json"}, **content)
    assert response.status_code == status, response.text
    assert {"error", "error_type"} <= set(response.json()) <= {"error", "error_type", "reason"}
    message: str = response.json()["error"]
    return message


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


def test_unknown_task_names_near_matches(client: TestClient) -> None:
    """A mistyped task is 404, never the bare backbone, and says what it may have meant."""
    assert "did you mean single" in refusal(client, "singel", {"inputs": "a"}, 404)
    assert "GET /v1/tasks" in refusal(client, "zzz", {"inputs": "a"}, 404)


@pytest.mark.parametrize(
    ("task", "body", "says"),
    [
        ("single", {"inputs": ""}, "input 0 is empty"),
        ("single", {"inputs": ["a", " \n"]}, "input 1 is empty"),
        ("single", {"inputs": ["a", "\u200b\u00ad\ufeff"]}, "input 1 is empty"),
        ("single", {"inputs": []}, "at least one"),
        ("pairs", {"inputs": [["a", ""]]}, "input 0 is empty"),
        ("single", {"inputs": [["a", "b"]]}, "takes single texts"),
        ("pairs", {"inputs": ["a", "b"]}, 'write [["a", "b"]]'),
        ("pairs", {"inputs": {"text": "a"}}, "takes pairs"),
        ("single", {"inputs": ["a"] * 51}, "at most 50"),
        ("single", {"inputs": 3}, "inputs must be a text"),
        ("single", {"inputs": [["a", "b", "c"]]}, "inputs must be a text"),
        ("single", {"inputs": {"text": "a", "more": 1}}, "inputs must be a text"),
        ("single", {"inputs": None}, "inputs must be a text"),
        ("single", {}, "inputs is missing"),
        ("single", {"input": "a"}, "inputs is missing"),
        ("single", {"inputs": "a", "topk": 1}, "topk"),
        ("single", {"inputs": "a", "top_k": 0}, "top_k"),
        ("single", {"inputs": "a", "truncation": "middle"}, "truncation"),
        ("value", {"inputs": [["a", "b"]], "top_k": 1}, "regression"),
        ("single", ["a"], "body must be a JSON object"),
    ],
)
def test_inputs_that_do_not_fit(client: TestClient, task: str, body: Any, says: str) -> None:
    """Each kind of wrong input is 422 and says what to do."""
    assert says in refusal(client, task, body)


@pytest.mark.parametrize("body", ['{"inputs": "a"', "", "{'inputs': 'a'}"])
def test_malformed_json(client: TestClient, body: str) -> None:
    """A body that is no JSON is refused as such."""
    message = refusal(client, "single", body, 400 if body else 422)
    assert "JSON" in message


def test_lone_surrogates(client: TestClient) -> None:
    """A lone surrogate in a text is 422, in either place of a pair too."""
    assert "Unicode" in refusal(client, "single", '{"inputs": "\\ud800"}')
    assert "Unicode" in refusal(client, "pairs", '{"inputs": [["a", "\\udfff"]]}')


def test_body_over_the_cap(client: TestClient) -> None:
    """A body over the cap is 413, declared or chunked, and in JSON."""
    assert "100000 bytes" in refusal(client, "single", {"inputs": "a" * 100_000}, 413)

    def chunks() -> Iterator[bytes]:
        yield b'{"inputs": "'
        yield from [b"a" * 10_000] * 11
        yield b'"}'

    response = client.post("/v1/single/predict", content=chunks(), headers={"Content-Type": "application/json"})
    assert response.status_code == 413
    assert response.json()["error_type"] == "content_too_large"


def test_body_that_is_not_json_by_its_type(client: TestClient) -> None:
    """Without a JSON content type the body is refused, and the message says so."""
    response = client.post("/v1/single/predict", content='{"inputs": "a"}', headers={"Content-Type": "text/plain"})
    assert response.status_code == 422
    assert "application/json" in response.json()["error"]


def test_more_than_may_ever_wait(tiny: LoadedBackbone, files: dict[str, bytes], tmp_path: Path) -> None:
    """A request that may have more tokens than may ever be queued is refused at once, without Retry-After."""
    with running(tiny, tmp_path, max_queued_tokens=512) as client:
        upload(client, "single", files["single"])
        assert "ADAKRON_MAX_QUEUED_TOKENS" in refusal(client, "single", {"inputs": ["a" * 100] * 9})
        assert len(predict(client, "single", ["a" * 100] * 8)["predictions"]) == 8


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
    keys = {"task", "version", "digest", "type", "labels", "pair", "max_length", "truncation", "temperature", "metrics"}
    assert all(set(item) == keys for item in tasks)
    assert client.get("/v1/tasks/pairs").json() == tasks[1]
    assert [item["temperature"] for item in tasks] == [1.0, 1.0, 1.0, 1.0, 2.0, 2.0]
    assert client.get("/v1/tasks/pear").status_code == 404


def test_unknown_route_and_method(client: TestClient) -> None:
    """Even 404 and 405 have the shape of every error."""
    for response, status in ((client.get("/nothing"), 404), (client.get("/v1/single/predict"), 405)):
        assert response.status_code == status
        assert {"error", "error_type"} <= set(response.json()) <= {"error", "error_type", "reason"}


def test_documented_examples_work(client: TestClient) -> None:
    """Every example request that /docs shows is answered by a task of its kind."""
    for name, example in PREDICT_REQUESTS.items():
        task = "pairs" if "pair" in name else "single"
        assert client.post(f"/v1/{task}/predict", json=example["value"]).status_code == 200, name
