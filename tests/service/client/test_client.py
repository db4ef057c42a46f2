"""The Python clients: the results and errors of a real server, and of servers that answer badly or not at all."""

import asyncio
import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from adapters.backbone.source import LoadedBackbone
from service import client as api
from service.client import AsyncAdaKronClient, Retries
from service.publishing.checks import check_upload
from service.registry import Registry
from tests.support.clients import Script, failing
from tests.support.factories import make_adapter_bytes
from tests.support.serving import KEY, Listening, listening, settings_for

LABELS = ("x", "y", "z")
KINDS: dict[str, dict[str, Any]] = {
    "single": {"seed": 1, "labels": LABELS},
    "multi": {"seed": 2, "type": "multi_label", "labels": LABELS},
    "value": {"seed": 3, "type": "regression", "labels": ()},
    "pairs": {"seed": 4, "pair": True},
}


@pytest.fixture(scope="module")
def server(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    folder = tmp_path_factory.mktemp("data")
    with closing(Registry.open(settings_for(folder).resolved_registry_url)) as registry:
        for task, options in KINDS.items():
            registry.publish(task, check_upload(make_adapter_bytes(identity=tiny.identity, **options)))
    with listening(tiny, folder, require_key=True) as server:
        yield server


@pytest.fixture
def connected(make: Any, server: Listening) -> Iterator[Any]:
    with make(f"http://127.0.0.1:{server.port}/", KEY) as connected:
        yield connected


def test_imports_little() -> None:
    """The client imports neither torch nor the server."""
    heavy = ("torch", "transformers", "fastapi", "starlette", "pydantic", "numpy", "adapters", "service.core")
    code = f"import service.client, sys; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_scores_as_a_list(connected: Any) -> None:
    """With `scores_as="list"` the scores are the same mapping, best first."""
    (plain,) = connected.predict("multi", "a good film").predictions
    (listed,) = connected.predict("multi", "a good film", scores_as="list").predictions
    many = connected.predict_many("a good film", ["multi"], scores_as="list")["multi"].predictions
    assert list(listed.scores.items()) == sorted(plain.scores.items(), key=lambda item: -item[1])
    assert many == (listed,)


def test_each_kind_of_prediction(connected: Any) -> None:
    """Each kind of task has a frozen result; texts, pairs and lists of both are valid inputs."""
    found = connected.predict("single@1", "a good film", top_k=2)
    assert (found.task, found.version, len(found.digest)) == ("single", 1, 64)
    (prediction,) = found.predictions
    assert isinstance(prediction, api.LabelPrediction)
    assert prediction.label == next(iter(prediction.scores))
    assert (len(prediction.scores), prediction.truncated, prediction.tokens) == (2, False, 5)
    assert found.timings_ms.inference > 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        prediction.label = "other"
    (several,) = connected.predict("multi", ["a"]).predictions
    assert isinstance(several, api.LabelsPrediction)
    assert isinstance(several.labels, tuple)
    (value,) = connected.predict("value", "a").predictions
    assert isinstance(value, api.ValuePrediction)
    pair = ("a cat", "a dog")
    one, two = connected.predict("pairs", pair), connected.predict("pairs", [pair, pair])
    assert (len(one.predictions), len(two.predictions)) == (1, 2)
    raw = connected.predict("single", "a " * 200, raw_scores=True, truncation="left").predictions[0]
    assert (raw.truncated, sum(raw.scores.values())) != (True, pytest.approx(1))


def test_several_tasks(connected: Any) -> None:
    """The result of each task is its predictions or its error, which indexing raises."""
    found = connected.predict_many("a good film", ["single", "nothing", "pairs"])
    assert found["single"].predictions[0].label in LABELS
    assert isinstance(found.results["nothing"], api.NotFound)
    with pytest.raises(api.InvalidRequest, match="takes pairs"):
        found["pairs"]


def test_tasks(connected: Any) -> None:
    """The client lists all tasks, or returns one."""
    tasks = connected.tasks()
    assert [task.task for task in tasks] == ["multi", "pairs", "single", "value"]
    assert connected.task("single") == tasks[2]
    assert (tasks[2].type, tasks[2].labels, tasks[1].pair) == ("single_label", LABELS, True)


def test_errors_of_the_server(connected: Any, make: Any, server: Listening) -> None:
    """Each error has its class, status, type and reason, and is not retried."""
    with pytest.raises(api.NotFound, match="did you mean single") as raised:
        connected.predict("singel", "a")
    assert (raised.value.status, raised.value.error_type) == (404, "unknown_task")
    with pytest.raises(api.InvalidRequest, match="input 0 is empty"):
        connected.predict("single", "")
    with pytest.raises(api.NotFound):
        connected.predict("../../admin/v1/tasks?x=#", "a")
    with pytest.raises(ValueError, match="is not a name"):
        connected.predict("..", "a")
    with make(f"http://127.0.0.1:{server.port}") as stranger, pytest.raises(api.Unauthorised) as raised:
        stranger.predict("single", "a")
    assert raised.value.reason == "key_missing"
    assert "key_missing" in str(raised.value)


def test_errors_name_their_request(make: Any) -> None:
    """An error has the request's id; the text of a server error shows it."""
    for status in (422, 500, 504):
        script = Script(failing(status, X_Request_Id="abc"))
        with make("http://x", transport=script.transport) as connected, pytest.raises(api.AdaKronError) as raised:
            connected.predict("t", "a")
        assert raised.value.request_id == "abc"
        assert ("[request abc]" in str(raised.value)) == (status == 500)


def test_malformed_inputs(make: Any) -> None:
    """Inputs that are neither text nor a list are refused before a request is sent."""
    with make("http://127.0.0.1:1") as connected:
        for inputs in (3, None, b"a", {"text": "a"}):
            with pytest.raises(api.InvalidArgument, match="a pair"):
                connected.predict("t", inputs)


def test_no_server(make: Any) -> None:
    """The error of a failed connection names the URL."""
    twice = Retries(max_attempts=2, base_s=0.01)
    with (
        make("http://127.0.0.1:1", retries=twice) as connected,
        pytest.raises(api.Unreachable, match=r"127\.0\.0\.1:1") as raised,
    ):
        connected.tasks()
    assert isinstance(raised.value.__cause__, httpx.ConnectError)


def test_timeout(make: Any) -> None:
    """A silent server ends the call with TimedOut."""
    script = Script(httpx.ReadTimeout("late"))
    with make("http://x", transport=script.transport) as connected:
        with pytest.raises(api.TimedOut):
            connected.tasks()
        with pytest.raises(api.TimedOut, match="within 0 s"):
            connected.tasks(timeout_s=0)


async def test_the_async_client_limits_the_whole_call() -> None:
    """A slow answer cannot exceed the timeout of the async client."""

    async def slow(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError

    async with AsyncAdaKronClient("http://x", transport=httpx.MockTransport(slow)) as connected:
        with pytest.raises(api.TimedOut):
            await connected.predict("t", "a", timeout_s=0.05)


@pytest.mark.parametrize("answer", [{"text": "hello"}, {"json": {"other": 1}}])
def test_another_kind_of_server(make: Any, answer: dict[str, Any]) -> None:
    """The answer of another kind of server is an ApiError."""
    transport = Script(httpx.Response(200, **answer)).transport
    with make("http://x", transport=transport) as connected, pytest.raises(api.ApiError, match="AdaKron"):
        connected.predict("t", "a")
