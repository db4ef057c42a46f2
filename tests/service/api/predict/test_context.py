"""Predictions by a task with gates: the context chooses the key's adapter, on every route, and never leaves a trace."""

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from adapters.backbone.source import LoadedBackbone
from adapters.gates import GatedAdapter
from adapters.serving.inference import predict_logits
from service.api.predict.schemas import PredictResponse
from service.core import AdapterRef, GatedRef
from service.engine_process.local import LocalTicket
from tests.support.factories import make_adapter_bytes, make_gated, make_gated_bytes
from tests.support.invariance import same_answer, tolerance_of
from tests.support.serving import predict, refusal, running, upload

TEXT = "a good film"
USERS = tuple(f"u{number}" for number in range(30))
LANGUAGES = ("de", "fr")


@pytest.fixture(scope="module")
def client(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running(tiny, tmp_path_factory.mktemp("data")) as client:
        upload(client, "by-user", make_gated_bytes(identity=tiny.identity, keys=USERS))
        language = make_gated_bytes(identity=tiny.identity, keys=LANGUAGES, field="language", seed=1)
        upload(client, "by-language", language)
        upload(client, "plain", make_adapter_bytes(identity=tiny.identity, seed=2))
        yield client


@pytest.fixture(scope="module")
def by_user(tiny: LoadedBackbone) -> GatedAdapter:
    return make_gated(identity=tiny.identity, keys=USERS)


def logits_of(answer: dict[str, Any]) -> list[float]:
    return list(answer["predictions"][0]["scores"].values())


def expected(tiny: LoadedBackbone, gated: GatedAdapter, key: str | None) -> np.ndarray:
    """Return the logits of TEXT by the adapter that `key` merges to, computed alone."""
    row = None if key is None else gated.gates.find(gated.gates.config.digest(key))
    return predict_logits(tiny, gated.merge(row), [TEXT])[0]


@pytest.mark.parametrize("user", USERS[::7])
def test_a_known_key_gets_its_own_adapter(
    client: TestClient, tiny: LoadedBackbone, by_user: GatedAdapter, user: str
) -> None:
    """The answer is that of the key's merged adapter, and names the field by which it was chosen."""
    answer = predict(client, "by-user", TEXT, context={"user": user}, raw_scores=True)
    assert answer["gate"] == "user"
    assert same_answer(expected(tiny, by_user, user), np.array(logits_of(answer)), 1e-5)


def test_an_answer_is_as_the_schema_says(client: TestClient) -> None:
    """The bytes of an answer with a gate are those that its documented model has."""
    content = client.post("/v1/by-user/predict", json={"inputs": TEXT, "context": {"user": "u1"}}).content
    assert b'"gate":"user"' in content
    assert PredictResponse.model_validate_json(content).model_dump_json().encode() == content


@pytest.mark.parametrize("context", [None, {}, {"user": "stranger"}, {"user": "U1"}, {"user": "u1 "}])
def test_other_keys_get_the_mean_gate(
    client: TestClient, tiny: LoadedBackbone, by_user: GatedAdapter, context: dict[str, str] | None
) -> None:
    """Without a key, or with one that the file does not know to the letter, the mean gate answers and says so."""
    answer = predict(client, "by-user", TEXT, context=context, raw_scores=True)
    assert answer["gate"] == "mean"
    assert same_answer(expected(tiny, by_user, None), np.array(logits_of(answer)), 1e-5)


def test_a_task_without_gates_names_none(client: TestClient) -> None:
    """The answer of an ordinary adapter has no `gate`, also if the context is null."""
    assert "gate" not in predict(client, "plain", TEXT)
    assert "gate" not in predict(client, "plain", TEXT, context=None)


@pytest.mark.parametrize(
    ("task", "context", "words"),
    [
        ("plain", {"user": "u1"}, "task 'plain' takes no context: its adapter has no gates"),
        ("plain", {}, "takes no context"),
        ("by-user", {"language": "de"}, "context has the field 'language'; that of task 'by-user' is 'user'"),
        ("by-user", {"user": "u1", "language": "de"}, "that of task 'by-user' is 'user'"),
        ("by-user", {"user": 17}, "context.user: Input should be a valid string"),
        ("by-user", {"user": None}, "context.user: Input should be a valid string"),
        ("by-user", {"user": ["u1"]}, "context.user: Input should be a valid string"),
        ("by-user", {"user": ""}, "context.user: String should have at least 1 character"),
        ("by-user", {"user": "x" * 257}, "context.user: String should have at most 256 characters"),
        ("by-user", {"user": "é" * 129}, "context.user: the user has 258 bytes in UTF-8"),
        ("by-user", "u1", "context: Input should be a valid dictionary"),
        ("by-user", ["u1"], "context: Input should be a valid dictionary"),
        ("by-user", {f"f{number}": "x" for number in range(65)}, "at most 64 items"),
    ],
)
def test_a_context_that_does_not_fit_is_422(client: TestClient, task: str, context: Any, words: str) -> None:
    """One line that says what is wrong, where, and what the task takes."""
    message = refusal(client, task, {"inputs": TEXT, "context": context})
    assert words in message
    assert "\n" not in message


def test_the_longest_key_is_accepted(client: TestClient) -> None:
    """256 bytes in UTF-8, whatever the number of characters."""
    for key in ("x" * 256, "é" * 128):
        assert predict(client, "by-user", TEXT, context={"user": key})["gate"] == "mean"


def test_several_tasks_each_take_their_own_field(client: TestClient) -> None:
    """One request may hold a key for each task; a task without gates ignores the fields of the others."""
    body = {"inputs": TEXT, "tasks": ["by-user", "by-language", "plain"], "raw_scores": True}
    results = client.post("/v1/predict", json=body | {"context": {"user": "u3", "language": "de"}}).json()["results"]
    assert [results[task].get("gate") for task in body["tasks"]] == ["user", "language", None]
    alone = predict(client, "by-user", TEXT, context={"user": "u3"}, raw_scores=True)
    assert same_answer(np.array(logits_of(alone)), np.array(logits_of(results["by-user"])), 1e-5)
    results = client.post("/v1/predict", json=body | {"context": {"language": "xx"}}).json()["results"]
    assert [results[task].get("gate") for task in body["tasks"]] == ["mean", "mean", None]


def test_a_field_of_no_task_is_422(client: TestClient) -> None:
    """A mistyped field is never ignored; if a task is not found, that is the error instead."""
    body = {"inputs": TEXT, "tasks": ["by-user", "plain"], "context": {"usr": "u3"}}
    response = client.post("/v1/predict", json=body)
    assert response.status_code == 422
    assert "context has the field 'usr', by which no task of this request has gates" in response.json()["error"]
    assert "'user'" in response.json()["error"]
    response = client.post("/v1/predict", json=body | {"tasks": ["plain"]})
    assert "none has gates" in response.json()["error"]
    response = client.post("/v1/predict", json=body | {"tasks": ["by-users", "plain"], "context": {"user": "u3"}})
    assert response.json()["results"]["by-users"]["error_type"] == "unknown_task"
    assert response.json()["results"]["plain"]["predictions"]


def test_a_bad_key_fails_only_its_own_task(client: TestClient) -> None:
    """The task whose key cannot exist has the error; the others are answered."""
    body = {"inputs": TEXT, "tasks": ["by-user", "plain"], "context": {"user": "é" * 129}}
    results = client.post("/v1/predict", json=body).json()["results"]
    assert results["by-user"]["status"] == 422
    assert results["plain"]["predictions"]


def test_every_protocol_takes_a_context(client: TestClient, tiny: LoadedBackbone, by_user: GatedAdapter) -> None:
    """vLLM's and TEI's routes take the field `context`, the Open Inference Protocol parameters that begin with it."""
    logits = expected(tiny, by_user, "u9")
    context = {"context": {"user": "u9"}}
    answer = client.post("/classify", json={"model": "by-user", "input": TEXT, "use_activation": False, **context})
    assert answer.json()["gate"] == "user"
    assert same_answer(logits, np.array(answer.json()["data"][0]["probs"]), 1e-5)
    answer = client.post("/tei/by-user/predict", json={"inputs": TEXT, "raw_scores": True, **context})
    assert same_answer(np.sort(logits)[::-1], np.array([item["score"] for item in answer.json()]), 1e-5)
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [TEXT]}
    body = {"inputs": [tensor], "outputs": [{"name": "logits"}], "parameters": {"context.user": "u9"}}
    answer = client.post("/v2/models/by-user/infer", json=body)
    assert answer.json()["parameters"]["gate"] == "user"
    assert same_answer(logits, np.array(answer.json()["outputs"][0]["data"]), 1e-5)


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/classify", {"model": "plain", "input": TEXT, "context": {"user": "u1"}}, "takes no context"),
        ("/tei/plain/predict", {"inputs": TEXT, "context": {"user": "u1"}}, "takes no context"),
        ("/tei/by-user/predict", {"inputs": TEXT, "context": {"usr": "u1"}}, "'user'"),
        ("/v2/models/by-user/infer", {"parameters": {"context.user": 17}}, "context.user must be a string"),
        ("/v2/models/by-user/infer", {"parameters": {"context.usr": "u1"}}, "'user'"),
        ("/v2/models/plain/infer", {"parameters": {"context.user": "u1"}}, "takes no context"),
        ("/v2/models/by-user/infer", {"parameters": {"context.user": "x" * 257}}, "257 bytes"),
    ],
)
def test_no_protocol_ignores_a_context_that_does_not_fit(
    client: TestClient, path: str, body: dict[str, Any], words: str
) -> None:
    """The refusals are those of this server's own route, in the shape of the protocol."""
    if path.startswith("/v2"):
        body = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [TEXT]}], **body}
    response = client.post(path, json=body)
    assert response.status_code == 422
    assert words in response.text


def test_the_list_of_tasks_names_the_field(client: TestClient) -> None:
    """Clients learn from GET /v1/tasks which context a task takes."""
    tasks = {task["task"]: task["context"] for task in client.get("/v1/tasks").json()["tasks"]}
    assert tasks == {"by-user": "user", "by-language": "language", "plain": None}


def test_logits_do_not_depend_on_other_keys(client: TestClient, tiny: LoadedBackbone) -> None:
    """A request of many inputs, alone and among requests of other keys, gets the same answers."""
    alone = [predict(client, "by-user", [TEXT] * 3, context={"user": user}, raw_scores=True) for user in USERS[:5]]
    again = [predict(client, "by-user", [TEXT] * 3, context={"user": user}, raw_scores=True) for user in USERS[:5]]
    for one, other in zip(alone, again, strict=True):
        assert same_answer(np.array(logits_of(one)), np.array(logits_of(other)), tolerance_of(tiny.backbone))
    assert len({str(logits_of(answer)) for answer in alone}) == 5


def test_only_the_digest_of_a_key_reaches_the_engine_side(
    client: TestClient, by_user: GatedAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message to the engine process has 16 salted bytes instead of the key, and none for a task without gates."""
    seen: list[AdapterRef] = []
    load = LocalTicket.load

    def noted(ticket: LocalTicket, adapter: AdapterRef) -> None:
        seen.append(adapter)
        load(ticket, adapter)

    monkeypatch.setattr(LocalTicket, "load", noted)
    predict(client, "by-user", TEXT, context={"user": "Xylophone-Zebra-42"})
    assert b"Zebra" not in pickle.dumps(seen)
    assert isinstance(seen[0], GatedRef)
    assert seen[0].key == by_user.gates.config.digest("Xylophone-Zebra-42")
    seen.clear()
    predict(client, "plain", TEXT)
    assert {type(adapter) for adapter in seen} == {AdapterRef}
