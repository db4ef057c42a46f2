"""POST /classify: vLLM's request, answer and errors."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from adapters.backbone.source import LoadedBackbone
from tests.service.observability.test_metrics import scrape
from tests.support.factories import make_adapter_bytes
from tests.support.serving import parts_of, predict, running, upload

LABELS = ("no", "maybe", "yes")
TASKS: dict[str, dict[str, Any]] = {
    "single": {"seed": 1, "labels": LABELS, "temperature": 2.0},
    "multi": {"seed": 2, "type": "multi_label", "labels": LABELS},
    "value": {"seed": 3, "type": "regression", "labels": ()},
    "pairs": {"seed": 4, "pair": True},
}


@pytest.fixture(scope="module")
def client(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running(tiny, tmp_path_factory.mktemp("data"), max_inputs=50) as client:
        for task, options in TASKS.items():
            upload(client, task, make_adapter_bytes(identity=tiny.identity, **options))
        yield client


def classify(client: TestClient, **body: Any) -> dict[str, Any]:
    response = client.post("/classify", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def error(client: TestClient, status: int, **body: Any) -> dict[str, Any]:
    """The error object."""
    response = client.post("/classify", json=body)
    assert response.status_code == status, response.text
    found: dict[str, Any] = response.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    assert found["code"] == status
    return found


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("inputs", ["a good film", ["a good film", "a dog"]])
def test_labels_and_probabilities(client: TestClient, inputs: Any, raw: bool) -> None:
    """Every field of vLLM's answer; labels and numbers are those of the native route."""
    options = {"use_activation": False, "user": "x"} if raw else {}
    answer = classify(client, model="single@1", input=inputs, **options)
    predictions = predict(client, "single", inputs, raw_scores=raw)["predictions"]
    assert set(answer) == {"id", "object", "created", "model", "data", "usage"}
    assert (answer["object"], answer["model"], answer["id"][:9]) == ("list", "single@1", "classify-")
    num_tokens = sum(item["tokens"] for item in predictions)
    assert answer["usage"] == {"prompt_tokens": num_tokens, "total_tokens": num_tokens, "completion_tokens": 0}
    assert answer["data"] == [
        {
            "index": index,
            "label": item["label"],
            "probs": pytest.approx(list(item["scores"].values()), abs=1e-5),
            "num_classes": 3,
        }
        for index, item in enumerate(predictions)
    ]


def test_multi_label_and_regression(client: TestClient) -> None:
    """Each label's own probability and the best label; a value without a label."""
    (found,) = classify(client, model="multi", input="a good film")["data"]
    scores = predict(client, "multi", "a good film")["predictions"][0]["scores"]
    assert found["probs"] == pytest.approx(list(scores.values()), abs=1e-5)
    assert found["label"] == max(scores, key=scores.__getitem__)
    (found,) = classify(client, model="value", input="a good film")["data"]
    value = predict(client, "value", "a good film")["predictions"][0]["value"]
    assert (found["label"], found["num_classes"], found["probs"]) == (None, 1, [pytest.approx(value, abs=1e-5)])


def test_truncation(client: TestClient) -> None:
    """Over-long texts are refused, unless they are to be cut."""
    text = "one two three " * 60
    message = error(client, 422, model="single", input=text)["message"]
    assert message.endswith('more than 64 tokens: shorten it, or let it be cut by "truncate_prompt_tokens": -1')
    answer = classify(client, model="single", input=text, truncate_prompt_tokens=-1)
    assert answer["usage"]["prompt_tokens"] == 64
    assert (
        "truncate_prompt_tokens" in error(client, 422, model="single", input="a", truncate_prompt_tokens=5)["message"]
    )


@pytest.mark.parametrize(
    ("body", "status", "kind", "message"),
    [
        ({"model": "singel", "input": "a"}, 404, "NotFoundError", "did you mean single"),
        ({"model": "single@9", "input": "a"}, 404, "NotFoundError", "no version 9"),
        ({"input": "a"}, 422, "BadRequestError", "model"),
        ({"model": "single"}, 422, "BadRequestError", "input"),
        ({"model": "single", "input": []}, 422, "BadRequestError", "input is empty"),
        ({"model": "single", "input": ""}, 422, "BadRequestError", "input 0 is empty"),
        ({"model": "single", "input": "\u200b"}, 422, "BadRequestError", "input 0 is empty"),
        ({"model": "single", "input": [1, 2]}, 422, "BadRequestError", "input"),
        ({"model": "single", "input": ["a"] * 51}, 422, "BadRequestError", "at most 50"),
        ({"model": "pairs", "input": "a"}, 422, "BadRequestError", "takes pairs"),
    ],
)
def test_errors(client: TestClient, body: dict[str, Any], status: int, kind: str, message: str) -> None:
    """Our statuses, in vLLM's shape."""
    found = error(client, status, **body)
    assert found["type"] == kind
    assert message in found["message"]


def test_no_permit_and_metrics(client: TestClient) -> None:
    """429 with Retry-After before the body says which task; later errors are counted for theirs."""
    before = scrape(client)
    admission = parts_of(client.app_state["server"]).admission
    admission.num_requests = 10**6
    response = client.post("/classify", json={"model": "single", "input": "a"})
    admission.num_requests = 0
    assert (response.status_code, response.json()["error"]["type"]) == (429, "RateLimitError")
    assert int(response.headers["Retry-After"]) >= 1
    classify(client, model="single@1", input="a")
    error(client, 422, model="single", input="")
    after = scrape(client)
    for task, code in (("_other", "429"), ("single", "200"), ("single", "422")):
        key = "adakron_requests_total", (("code", code), ("task", task))
        assert after[key] - before.get(key, 0) == 1
    assert admission.num_requests == admission.num_tokens == 0


def test_another_method(client: TestClient) -> None:
    """A method that the route does not take is answered in the protocol's fields, too."""
    answer = client.get("/classify")
    assert answer.status_code == 405
    told = {"message": "this path takes POST, not GET", "type": "BadRequestError", "param": None, "code": 405}
    assert answer.json() == {"error": told}
