"""Example inputs of a version, and the count of what it has answered."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import numpy as np
import pytest
from fastapi.testclient import TestClient

from adapters.backbone.source import LoadedBackbone
from service.api.admin.tasks import MAX_LABELS, _activity
from service.core import PublishedVersion
from service.dispatch.label_counts import LabelCounts
from service.publishing.checks import check_upload
from service.registry import Registry
from service.registry.catalog import published
from tests.support.factories import make_adapter, make_adapter_bytes
from tests.support.serving import ADMIN, predict, running, upload

LABELS = ("sad", "happy", "odd")


@pytest.fixture(scope="module")
def client(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running(tiny, tmp_path_factory.mktemp("inspection")) as client:
        for number in range(2):
            upload(client, "mood", make_adapter_bytes(identity=tiny.identity, labels=LABELS, seed=number))
        upload(client, "topics", make_adapter_bytes(identity=tiny.identity, type="multi_label", labels=LABELS))
        upload(client, "grade", make_adapter_bytes(identity=tiny.identity, type="regression", labels=()))
        yield client


def activity(client: TestClient, task: str) -> list[dict[str, object]]:
    answer = client.get(f"/admin/v1/tasks/{task}/activity", headers=ADMIN)
    assert answer.status_code == 200, answer.text
    versions: list[dict[str, object]] = answer.json()["versions"]
    return versions


def test_answers_are_counted_by_version_and_label(client: TestClient) -> None:
    """Each version counts the labels that it gave; a version that answered nothing is left out."""
    assert activity(client, "mood") == []
    texts = ["a good film", "the sea", "no", "one two three four"]
    answered = [one["label"] for one in predict(client, "mood", texts)["predictions"]]
    predict(client, "mood@1", texts[:1])
    by_version = {one["version"]: one for one in activity(client, "mood")}
    assert {version: one["num_inputs"] for version, one in by_version.items()} == {1: 1, 2: 4}
    counts = by_version[2]["labels"]
    assert {one["label"]: one["count"] for one in counts} == {label: answered.count(label) for label in LABELS}
    assert [one["count"] for one in counts] == sorted((one["count"] for one in counts), reverse=True)


def test_several_labels_and_values(client: TestClient) -> None:
    """A multi-label task counts every label of 0.5 and more, and a regression has the mean of its values."""
    texts = ["a good film", "the sea", "no"]
    predictions = predict(client, "topics", texts)["predictions"]
    (topics,) = activity(client, "topics")
    given = [label for one in predictions for label in one["labels"]]
    assert {one["label"]: one["count"] for one in topics["labels"]} == {label: given.count(label) for label in LABELS}
    values = [one["value"] for one in predict(client, "grade", texts)["predictions"]]
    (grade,) = activity(client, "grade")
    assert grade["mean"] == pytest.approx(np.mean(values), rel=1e-5)
    assert grade["labels"] == []


def test_many_labels_are_cut() -> None:
    """The answers of a version with a thousand labels are fifty entries and the number of the others."""
    labels = tuple(f"label {number}" for number in range(1000))
    version = of_adapter(labels=labels)
    counts = LabelCounts()
    counts.add(version.adapter, np.eye(1000, dtype=np.float32)[[7, 7, 8]])
    counted = counts.of(version.digest)
    assert counted is not None
    shown = _activity(version, counted)
    assert (len(shown.labels), shown.num_other_labels) == (MAX_LABELS, 1000 - MAX_LABELS)
    assert [(one.label, one.count) for one in shown.labels[:2]] == [("label 7", 2), ("label 8", 1)]


def test_examples_of_a_version(client: TestClient, tiny: LoadedBackbone) -> None:
    """The inputs of the golden examples are shown to keys that may download the file, and to no other."""
    file = make_adapter_bytes(identity=tiny.identity, pair=True, examples=(("a", "b"), ("c", "d")))
    with closing(Registry.open(client.app_state["server"].settings.resolved_registry_url)) as registry:
        registry.publish("same", check_upload(file))
    path = "/admin/v1/tasks/same/versions/1/examples"
    for _ in range(100):
        if (answer := client.get(path, headers=ADMIN)).status_code == 200:
            break
    assert answer.json() == {"examples": [{"inputs": ["a", "b"]}, {"inputs": ["c", "d"]}]}
    assert client.get("/admin/v1/tasks/mood/versions/1/examples", headers=ADMIN).json() == {"examples": []}
    for missing in ("same/versions/9/examples", "none/versions/1/examples", "none/activity"):
        assert client.get(f"/admin/v1/tasks/{missing}", headers=ADMIN).status_code == 404
    made = client.post("/admin/v1/keys", json={"name": "p", "scopes": ["predict"]}, headers=ADMIN).json()["key"]
    for closed in (path, "/admin/v1/tasks/mood/activity"):
        assert client.get(closed).status_code == 401
        assert client.get(closed, headers={"Authorization": f"Bearer {made}"}).status_code == 403


def of_adapter(**options: object) -> PublishedVersion:
    """A version as the registry has it."""
    adapter = make_adapter(**options)
    return published("mood", 1, adapter.digest, adapter.metadata, 1, datetime.now(UTC))
