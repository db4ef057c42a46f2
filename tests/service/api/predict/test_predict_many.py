"""POST /v1/predict: several tasks at once, each with its own answer or its own error."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from adapters.backbone.source import LoadedBackbone
from adapters.config import TaskSpec
from service.adapter_cache.cache import AdapterCache
from service.engine_process.local import LocalTicket
from service.errors import AdapterUnavailable, Overloaded
from service.inference.predictor import Predictor
from service.inference.tokenizer import Tokenizer
from service.publishing.checks import check_upload
from service.registry import Registry
from tests.service.observability.test_metrics import scrape
from tests.support.factories import make_adapter_bytes
from tests.support.serving import predict, running, settings_for, upload

TASKS = {
    "a": {"seed": 1},
    "b": {"seed": 2, "labels": ("no", "maybe", "yes")},
    "short": {"seed": 3, "max_length": 8},
    "value": {"seed": 4, "type": "regression", "labels": ()},
    "pairs": {"seed": 5, "pair": True},
}


@pytest.fixture(scope="module")
def client(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running(tiny, tmp_path_factory.mktemp("data"), max_inputs=50) as client:
        for task, options in TASKS.items():
            upload(client, task, make_adapter_bytes(identity=tiny.identity, **options))  # type: ignore[arg-type]
        yield client


def ask(client: TestClient, tasks: list[str], inputs: Any = "a good film", **options: Any) -> dict[str, Any]:
    """The results, by task."""
    response = client.post("/v1/predict", json={"inputs": inputs, "tasks": tasks, **options})
    assert response.status_code == 200, response.text
    assert set(response.json()["timings_ms"]) == {"tokenize", "total"}
    results: dict[str, Any] = response.json()["results"]
    assert list(results) == tasks
    return results


def counts(client: TestClient) -> dict[tuple[str, str], float]:
    """Requests by task and code."""
    return {
        (dict(labels)["task"], dict(labels)["code"]): value
        for (name, labels), value in scrape(client).items()
        if name == "adakron_requests_total"
    }


def test_each_result_is_what_the_task_answers_alone(client: TestClient) -> None:
    """Except for timings, and the last bits of a score."""
    for inputs in ("a good film", ["a dog", "a dull plot " * 12]):
        for reference, result in ask(client, ["value", "a", "b@1", "short@live"], inputs, truncation="left").items():
            alone = predict(client, reference, inputs, truncation="left")
            assert set(result) == set(alone)
            assert (result["task"], result["version"], result["digest"]) == (
                alone["task"],
                alone["version"],
                alone["digest"],
            )
            for one, other in zip(result["predictions"], alone["predictions"], strict=True):
                assert one.get("label") == other.get("label")
                assert one.get("scores", {}) == pytest.approx(other.get("scores", {}), abs=1e-5)
                assert one.get("value", 0) == pytest.approx(other.get("value", 0), abs=1e-5)
                assert (one["truncated"], one["tokens"]) == (other["truncated"], other["tokens"])


def test_one_batch_and_tokenised_once_for_each_length(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four adapters are in one batch; of three with the same max_length the texts are tokenised once."""
    lengths = []
    encode = Tokenizer.encode

    async def counted(self: Tokenizer, inputs: Any, task: str, spec: TaskSpec, *rest: Any) -> Any:
        lengths.append(spec.max_length)
        return await encode(self, inputs, task, spec, *rest)

    monkeypatch.setattr(Tokenizer, "encode", counted)
    for inputs in ("a good film", "a good film " * 50):  # 600 characters go to a thread
        lengths.clear()
        before = scrape(client)
        ask(client, ["a", "b", "value", "short"], inputs)
        after = scrape(client)
        grown = {key: after[f"adakron_batch_adapters_{key}", ()] for key in ("sum", "count")}
        assert grown["count"] - before["adakron_batch_adapters_count", ()] == 1
        assert grown["sum"] - before["adakron_batch_adapters_sum", ()] == 4
        assert sorted(lengths) == [8, 64]


def test_errors_of_one_task_leave_the_others_alone(client: TestClient) -> None:
    """Unknown task and version, a pair task with single texts, a wrong option, a text too long for one: by task."""
    before = counts(client)
    results = ask(
        client, ["a", "nothing", "b@9", "pairs", "value", "short"], "one two three " * 5, top_k=1, truncation="error"
    )
    statuses = {task: (result.get("status"), result.get("error_type")) for task, result in results.items()}
    assert statuses == {
        "a": (None, None),
        "nothing": (404, "unknown_task"),
        "b@9": (404, "unknown_version"),
        "pairs": (422, "validation"),
        "value": (422, "validation"),
        "short": (422, "validation"),
    }
    assert results["a"]["predictions"][0]["label"]
    assert "more than 8 tokens" in results["short"]["error"]
    grown = {key: value - before.get(key, 0) for key, value in counts(client).items()}
    expected = {("a", "200"): 1, ("_other", "404"): 1, ("b", "404"): 1}
    expected |= {(task, "422"): 1 for task in ("pairs", "value", "short")}
    assert {key: value for key, value in grown.items() if value} == expected


def test_an_adapter_that_cannot_be_loaded(
    client: TestClient, tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is the error of its task only."""
    read = Registry.read_adapter
    data = make_adapter_bytes(identity=tiny.identity, seed=9)
    with running(tiny, tmp_path) as client:
        upload(client, "good", make_adapter_bytes(identity=tiny.identity))
        digest = upload(client, "bad", data, activate=False)["digest"]
    monkeypatch.setattr(
        Registry, "read_adapter", lambda self, key: b"x" if key == digest else read(self, key), raising=True
    )
    with running(tiny, tmp_path) as client:
        results = ask(client, ["good", "bad@1"])
    assert results["good"]["predictions"]
    assert results["bad@1"]["status"] >= 500


def test_more_adapters_than_fit(tiny: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for one adapter they are loaded one after the other; no task holds the room that another waits for."""
    monkeypatch.setattr(AdapterCache, "_num_bytes", lambda *_: 600_000)
    with running(tiny, tmp_path, adapter_memory_bytes=2**20) as client:
        for seed, task in enumerate("xyz"):
            upload(client, task, make_adapter_bytes(identity=tiny.identity, seed=seed))
        results = ask(client, ["x", "y", "z"])
        assert all("predictions" in result for result in results.values()), results
        assert scrape(client)["adakron_adapter_evictions_total", ()] >= 3


def test_permits_are_awaited_together(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The permits of all tasks cost one way to the engine process and back, not one each."""
    asked: list[LocalTicket] = []
    together = asyncio.Event()

    async def granted(ticket: LocalTicket) -> None:
        asked.append(ticket)
        if len(asked) == 3:
            together.set()
        await together.wait()

    monkeypatch.setattr(LocalTicket, "granted", granted)
    assert all("predictions" in result for result in ask(client, ["a", "b", "value"]).values())


def test_a_permit_that_is_refused_late(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole request is 429 at once, though other permits are never answered; an error of one task is its own."""

    async def full(ticket: LocalTicket) -> None:
        if ticket.task != "b":
            await asyncio.Event().wait()
        raise Overloaded("full", retry_after_s=3, reason="queued_tokens")

    async def broken(ticket: LocalTicket) -> None:
        if ticket.task == "b":
            raise AdapterUnavailable("damaged")

    monkeypatch.setattr(LocalTicket, "granted", full)
    response = client.post("/v1/predict", json={"inputs": "a", "tasks": ["a", "b", "value"]})
    assert (response.status_code, response.headers["Retry-After"]) == (429, "3")
    monkeypatch.setattr(LocalTicket, "granted", broken)
    results = ask(client, ["a", "b", "value"])
    assert {task: result.get("status") for task, result in results.items()} == {"a": None, "b": 503, "value": None}


def test_a_task_that_fails_leaves_its_room_to_the_others(
    tiny: LoadedBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for one adapter, a task whose texts are too long gives its room to the next task at once."""
    monkeypatch.setattr(AdapterCache, "_num_bytes", lambda *_: 600_000)
    with running(tiny, tmp_path, adapter_memory_bytes=2**20) as client:
        for seed, task in enumerate(("short", "y", "z")):
            options = {"max_length": 8} if task == "short" else {}
            upload(client, task, make_adapter_bytes(identity=tiny.identity, seed=seed, **options))
        results = ask(client, ["short", "y", "z"], "one two three " * 5, truncation="error")
        assert results["short"]["status"] == 422
        assert all("predictions" in results[task] for task in "yz"), results


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": []}, "tasks"),
        ({"tasks": ["a", "a"]}, "each task may be named once"),
        ({"tasks": [f"t{number}" for number in range(65)]}, "tasks"),
        ({"tasks": "a"}, "tasks"),
        ({"tasks": ["a"], "inputs": []}, "inputs is empty"),
        ({"tasks": ["a"], "inputs": ["x"] * 51}, "at most 50"),
        ({"tasks": ["a"], "inputs": 3}, "inputs must be"),
        ({"tasks": ["a"], "more": 1}, "more"),
    ],
)
def test_what_concerns_the_whole_request(client: TestClient, change: dict[str, Any], message: str) -> None:
    """Is 422 for all of it."""
    response = client.post("/v1/predict", json={"inputs": "x"} | change)
    assert (response.status_code, response.json()["error_type"]) == (422, "validation")
    assert message in response.json()["error"]


def test_no_json_and_too_much(client: TestClient) -> None:
    """A body that is no JSON is 400, one over the cap 413."""
    headers = {"Content-Type": "application/json"}
    assert client.post("/v1/predict", content=b"{", headers=headers).status_code == 400
    assert client.post("/v1/predict", content=b" " * (3 << 20), headers=headers).status_code == 413


def test_overload_is_for_all_and_before_any_work(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """If there is no permit for each task, no permit is kept and nothing is tokenized; the answer is 429."""
    with running(tiny, tmp_path, max_queued_requests=2) as client:
        for seed, task in enumerate("xyz"):
            upload(client, task, make_adapter_bytes(identity=tiny.identity, seed=seed))
        response = client.post("/v1/predict", json={"inputs": "a", "tasks": ["x", "y", "z"]})
        assert (response.status_code, response.json()["error_type"]) == (429, "overloaded")
        assert int(response.headers["Retry-After"]) >= 1
        samples = scrape(client)
        assert samples["adakron_tokenize_duration_seconds_count", ()] == 0
        assert samples["adakron_rejected_total", (("reason", "queued_requests"),)] == 1
        assert {counts(client)[task, "429"] for task in "xyz"} == {1}
        assert len(ask(client, ["x", "y"])) == 2  # the permits were given back


def test_time_limit(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header is that of predictions: 504 for the whole, 422 where it cannot be read."""

    async def slow(*_: Any) -> None:
        await asyncio.sleep(60)

    body = {"inputs": "a", "tasks": ["a"]}
    assert client.post("/v1/predict", json=body, headers={"X-Request-Timeout-Ms": "soon"}).status_code == 422
    monkeypatch.setattr(Predictor, "encode", slow)
    response = client.post("/v1/predict", json=body, headers={"X-Request-Timeout-Ms": "50"})
    assert (response.status_code, response.json()["error_type"]) == (504, "timeout")


def test_a_key_for_some_of_the_tasks(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """Gets 403 for the others, whether they exist or not, and its answer for its own."""
    with closing(Registry.open(settings_for(tmp_path).resolved_registry_url)) as registry:
        for task in ("mine", "other"):
            registry.publish(task, check_upload(make_adapter_bytes(identity=tiny.identity)))
        _, text = registry.create_key("test", ("predict",), ("mine",), actor="test", source="")
        _, upload_only = registry.create_key("test", ("upload",), (), actor="test", source="")
    body = {"inputs": "a", "tasks": ["mine", "other", "nothing"]}
    with running(tiny, tmp_path, require_key=True) as client:
        results = client.post("/v1/predict", json=body, headers={"Authorization": f"Bearer {text}"}).json()["results"]
        assert results["mine"]["predictions"]
        assert results["other"] | {"error": ""} == results["nothing"] | {"error": ""}
        assert (results["other"]["status"], results["other"]["reason"]) == (403, "key_task")
        assert client.post("/v1/predict", json=body).status_code == 401
        headers = {"Authorization": f"Bearer {upload_only}"}
        assert client.post("/v1/predict", json=body, headers=headers).status_code == 403
