"""POST /tei/{task}/predict: text-embeddings-inference's inputs, answers and errors."""

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
    "value": {"seed": 3, "type": "regression", "labels": (), "pair": True},
    "pairs": {"seed": 4, "pair": True},
}


@pytest.fixture(scope="module")
def client(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running(tiny, tmp_path_factory.mktemp("data"), max_inputs=50) as client:
        for task, options in TASKS.items():
            upload(client, task, make_adapter_bytes(identity=tiny.identity, **options))
        yield client


def tei(client: TestClient, task: str, inputs: Any, **options: Any) -> Any:
    response = client.post(f"/tei/{task}/predict", json={"inputs": inputs, **options})
    assert response.status_code == 200, response.text
    return response.json()


def expected(client: TestClient, task: str, inputs: Any, **options: Any) -> list[list[tuple[str, Any]]]:
    """By the native route: each input's labels with their scores, best first."""
    predictions = predict(client, task, inputs, **options)["predictions"]
    return [
        [
            (label, pytest.approx(score, abs=1e-5))
            for label, score in sorted(item["scores"].items(), key=lambda pair: -pair[1])
        ]
        for item in predictions
    ]


def rows(answer: list[list[dict[str, Any]]]) -> list[list[tuple[str, float]]]:
    assert all(set(entry) == {"label", "score"} for row in answer for entry in row)
    return [[(entry["label"], entry["score"]) for entry in row] for row in answer]


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("task", ["single", "multi"])
def test_texts(client: TestClient, task: str, raw: bool) -> None:
    """A text has a list of labels, best first; a batch has a list of these, even one of one."""
    one = expected(client, task, "a good film", raw_scores=raw)
    assert rows([tei(client, task, "a good film", raw_scores=raw)]) == one
    assert rows([tei(client, task, ["a good film"], raw_scores=raw)]) == one  # as TEI has it: no batch
    assert rows(tei(client, task, [["a good film"]], raw_scores=raw)) == one
    two = expected(client, task, ["a good film", "a dog"], raw_scores=raw)
    assert rows(tei(client, task, [["a good film"], ["a dog"]], raw_scores=raw)) == two


def test_a_flat_list_of_two_is_one_pair(client: TestClient) -> None:
    """Unlike in the native route, where it is two texts."""
    pair = expected(client, "pairs", [["a cat", "a dog"]])
    assert rows([tei(client, "pairs", ["a cat", "a dog"])]) == pair
    assert rows(tei(client, "pairs", [["a cat", "a dog"]])) == pair
    response = client.post("/tei/single/predict", json={"inputs": ["a cat", "a dog"]})
    assert (response.status_code, "is a pair" in response.json()["error"]) == (422, True)


def test_regression(client: TestClient) -> None:
    """One entry with the value."""
    (prediction,) = predict(client, "value", [["a cat", "a dog"]])["predictions"]
    assert tei(client, "value", ["a cat", "a dog"]) == [
        {"label": "LABEL_0", "score": pytest.approx(prediction["value"], abs=1e-5)}
    ]


def test_truncation(client: TestClient) -> None:
    """Over-long texts are refused, unless they are to be cut, from either end."""
    text = "one two three " * 60
    response = client.post("/tei/single/predict", json={"inputs": text})
    assert (response.status_code, response.json()["error_type"]) == (422, "Validation")
    assert 'let it be cut by "truncate": true' in response.json()["error"]
    for given, side in (({}, "right"), ({"truncation_direction": "Left"}, "left")):
        found = tei(client, "single", text, truncate=True, **given)
        assert rows([found]) == expected(client, "single", text, truncation=side)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "inputs is empty"),
        ("", "input 0 is empty"),
        ("\u200b", "input 0 is empty"),
        (["a", "b", "c"], "inputs must be"),
        ([["a", "b", "c"]], "inputs must be"),
        ([["a"], "b"], "inputs must be"),
        ([[]], "inputs must be"),
        (3, "inputs must be"),
        ([["a"]] * 51, "at most 50"),
    ],
)
def test_inputs_that_are_refused(client: TestClient, inputs: Any, message: str) -> None:
    """With TEI's shape and error type."""
    response = client.post("/tei/single/predict", json={"inputs": inputs})
    assert response.status_code == 422
    assert set(response.json()) == {"error", "error_type"}
    assert message in response.json()["error"]
    assert response.json()["error_type"] == "Validation"


def test_errors(client: TestClient) -> None:
    """An unknown task, no JSON, no permit, a damaged adapter: our statuses, TEI's types; all counted."""
    before = scrape(client)
    response = client.post("/tei/nothing/predict", json={"inputs": "a"})
    assert (response.status_code, response.json()["error_type"]) == (404, "Validation")
    headers = {"Content-Type": "application/json"}
    response = client.post("/tei/single/predict", content=b"{", headers=headers)
    assert (response.status_code, response.json()["error_type"]) == (400, "Validation")
    state = client.app_state["server"]
    parts_of(state).admission.num_requests = 10**6
    response = client.post("/tei/single/predict", json={"inputs": "a"})
    parts_of(state).admission.num_requests = 0
    assert (response.status_code, response.json()["error_type"]) == (429, "Overloaded")
    assert int(response.headers["Retry-After"]) >= 1
    parts_of(state).admission.closing = True
    response = client.post("/tei/single/predict", json={"inputs": "a"})
    parts_of(state).admission.closing = False
    assert (response.status_code, response.json()["error_type"]) == (503, "Unhealthy")
    after = scrape(client)
    for code in ("400", "429", "503"):
        key = "adakron_requests_total", (("code", code), ("task", "single"))
        assert after[key] - before.get(key, 0) == 1


def test_another_method(client: TestClient) -> None:
    """A method that the route does not take is answered in the protocol's fields and words, too."""
    answer = client.get("/tei/single/predict")
    assert answer.status_code == 405
    assert answer.json() == {"error": "this path takes POST, not GET", "error_type": "Validation"}
    assert answer.headers["Allow"] == "POST"
