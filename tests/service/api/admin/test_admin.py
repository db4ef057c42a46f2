"""The admin API: publication, aliases, rollback, deletion, and what is refused."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient

from adapters import checkpoint
from adapters.backbone.source import LoadedBackbone
from adapters.serving.bank import AdapterBank, BatchSite, SegmentRows
from adapters.serving.inference import predict_logits
from service.publishing.checks import check_upload
from service.registry import Registry
from service.settings import Settings
from tests.support.factories import make_adapter_bytes
from tests.support.serving import ADMIN, UPLOAD, predict, running, upload


@pytest.fixture
def client(tiny: LoadedBackbone, tmp_path: Path) -> Iterator[TestClient]:
    with running(tiny, tmp_path, max_upload_bytes=100_000) as client:
        yield client


@pytest.fixture(scope="module")
def files(tiny: LoadedBackbone) -> list[bytes]:
    return [make_adapter_bytes(identity=tiny.identity, seed=seed) for seed in range(4)]


def test_upload_is_live_at_once(client: TestClient, files: list[bytes]) -> None:
    """A new version answers the very next request, without a restart."""
    for number, data in enumerate(files, 1):
        answer = upload(client, "t", data)
        assert (answer["version"], answer["live"]) == (number, True)
        assert predict(client, "t", "a good film")["digest"] == answer["digest"]


def test_same_bytes_again(client: TestClient, files: list[bytes]) -> None:
    """The same bytes are the same version: 200 instead of 201."""
    statuses = [
        client.post("/admin/v1/tasks/t/versions", content=files[0], headers=UPLOAD).status_code for _ in range(2)
    ]
    assert statuses == [201, 200]
    assert len(client.get("/admin/v1/tasks/t", headers=ADMIN).json()["versions"]) == 1


def test_upload_without_activation(client: TestClient, files: list[bytes]) -> None:
    """With activate=false the version is there by its number, and `live` stays."""
    upload(client, "t", files[0])
    assert upload(client, "t", files[1], activate=False)["live"] is False
    assert predict(client, "t", "a")["version"] == 1
    assert predict(client, "t@2", "a")["version"] == 2


def test_not_one_request_fails_while_versions_change(client: TestClient, files: list[bytes]) -> None:
    """Under steady requests ten uploads go live: every answer is 200 and names a version that existed."""
    upload(client, "t", files[0])
    stop, answers = threading.Event(), list[Any]()

    def ask() -> None:
        while not stop.is_set():
            answers.append(client.post("/v1/t/predict", json={"inputs": ["a good film", "a dull plot"]}))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    digests = {upload(client, "t", files[i % 4])["digest"] for i in range(10)}
    stop.set()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["digest"] for answer in answers} <= digests
    assert len(answers) > 10


def test_request_in_flight_keeps_its_version(
    client: TestClient, tiny: LoadedBackbone, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that is in the engine while a new version goes live is answered by the version it started with."""
    upload(client, "t", files[0])
    entered, go_on = threading.Event(), threading.Event()
    site = AdapterBank.site

    def slow(bank: AdapterBank, segments: Sequence[SegmentRows]) -> BatchSite:
        entered.set()
        assert go_on.wait(30)
        return site(bank, segments)

    monkeypatch.setattr(AdapterBank, "site", slow)
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(predict, client, "t", "a good film", raw_scores=True)
        assert entered.wait(30)
        assert upload(client, "t", files[1])["live"]
        go_on.set()
        answer = pending.result()
    assert answer["version"] == 1
    expected = predict_logits(tiny, checkpoint.parse(files[0]), ["a good film"])[0]
    assert list(answer["predictions"][0]["scores"].values()) == pytest.approx(expected.tolist(), abs=1e-5)
    assert predict(client, "t", "a good film")["version"] == 2


def test_versions_of_other_processes_are_followed(client: TestClient, files: list[bytes], tmp_path: Path) -> None:
    """A version that another process writes into the registry is served within a second."""
    registry = Registry.open(Settings(data_dir=tmp_path).resolved_registry_url)
    registry.publish("other", check_upload(files[2]))
    registry.close()
    for _ in range(100):
        if client.post("/v1/other/predict", json={"inputs": "a"}).status_code == 200:
            break
        threading.Event().wait(0.01)
    assert predict(client, "other", "a")["version"] == 1


def test_activate_and_roll_back(client: TestClient, files: list[bytes]) -> None:
    """Any version can be made live; rollback undoes the last activation, and the one before."""
    for data in files[:3]:
        upload(client, "t", data)
    answer = client.put("/admin/v1/tasks/t/aliases/live", json={"version": 1}, headers=ADMIN)
    assert answer.json()["aliases"] == {"live": 1}
    assert answer.headers["ETag"] == '"1"'
    rolled = [client.post("/admin/v1/tasks/t/rollback", headers=ADMIN).json()["aliases"]["live"] for _ in range(2)]
    assert rolled == [3, 2]
    assert predict(client, "t", "a")["version"] == 2
    client.post("/admin/v1/tasks/t/rollback", headers=ADMIN)
    assert client.post("/admin/v1/tasks/t/rollback", headers=ADMIN).status_code == 409


def test_two_who_roll_back_at_once(client: TestClient, files: list[bytes]) -> None:
    """With If-Match `live` goes back one step for many concurrent calls; the errors of the others say where it is."""
    for data in files[:3]:
        upload(client, "t", data)
    headers = ADMIN | {"If-Match": '"3"'}
    answers = [client.post("/admin/v1/tasks/t/rollback", headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 412]
    assert "points to version 2" in answers[1].json()["error"]
    assert client.get("/admin/v1/tasks/t", headers=ADMIN).json()["aliases"] == {"live": 2}


def test_compare_and_set(client: TestClient, files: list[bytes]) -> None:
    """With If-Match the alias moves only from where the caller believes it to be."""
    for data in files[:2]:
        upload(client, "t", data)

    def put(alias: str, version: int, **headers: str) -> int:
        return client.put(
            f"/admin/v1/tasks/t/aliases/{alias}", json={"version": version}, headers=ADMIN | headers
        ).status_code

    assert put("live", 1, **{"If-Match": '"1"'}) == 412
    assert put("live", 1, **{"If-Match": '"2"'}) == 200
    assert put("canary", 2, **{"If-None-Match": "*"}) == 200
    assert put("canary", 1, **{"If-None-Match": "*"}) == 412
    assert put("live", 1, **{"If-Match": "latest"}) == 422
    assert put("live", 9) == 404
    assert put("77", 1) == 422


def test_delete(client: TestClient, files: list[bytes]) -> None:
    """A version that an alias points to cannot be deleted; another can, and its number is not used again."""
    for data in files[:2]:
        upload(client, "t", data)
    assert client.delete("/admin/v1/tasks/t/versions/2", headers=ADMIN).status_code == 409
    assert client.delete("/admin/v1/tasks/t/versions/1", headers=ADMIN).status_code == 204
    assert client.delete("/admin/v1/tasks/t/versions/1", headers=ADMIN).status_code == 404
    assert client.post("/v1/t@1/predict", json={"inputs": "a"}).status_code == 404
    assert upload(client, "t", files[0])["version"] == 3


def test_retire_a_task(client: TestClient, files: list[bytes]) -> None:
    """Without its `live` alias a task no longer answers, and its last version can be deleted."""
    upload(client, "t", files[0])
    assert client.delete("/admin/v1/tasks/t/aliases/live", headers=ADMIN).status_code == 204
    assert client.post("/v1/t/predict", json={"inputs": "a"}).status_code == 404
    assert client.delete("/admin/v1/tasks/t/versions/1", headers=ADMIN).status_code == 204
    assert client.get("/v1/tasks").json() == {"tasks": []}


def test_download(client: TestClient, files: list[bytes]) -> None:
    """A download is exactly the bytes that were uploaded, with their digest as the ETag."""
    digest = upload(client, "t", files[0])["digest"]
    response = client.get("/admin/v1/tasks/t/versions/1/adapter", headers=ADMIN)
    assert response.content == files[0]
    assert response.headers["ETag"] == f'"{digest}"'
    assert client.get("/admin/v1/tasks/t/versions/2/adapter", headers=ADMIN).status_code == 404


def test_lists(client: TestClient, files: list[bytes]) -> None:
    """The lists show every task, its versions and its aliases."""
    upload(client, "a", files[0])
    upload(client, "b", files[1])
    body = client.get("/admin/v1/tasks", headers=ADMIN).json()
    assert [task["task"] for task in body["tasks"]] == ["a", "b"]
    assert body["tasks"][0]["aliases"] == {"live": 1}
    version = client.get("/admin/v1/tasks/a/versions/1", headers=ADMIN).json()
    assert version == body["tasks"][0]["versions"][0]
    assert version["num_bytes"] == len(files[0])


def test_float16_and_other_shapes_are_served(client: TestClient, tiny: LoadedBackbone) -> None:
    """Adapters of other bottlenecks, layers and types live side by side."""
    upload(client, "half", make_adapter_bytes(identity=tiny.identity, dtype=torch.float16))
    upload(client, "upper", make_adapter_bytes(identity=tiny.identity, layers=(1,), p=2, q=8, pooling="cls"))
    assert predict(client, "half", "a")["predictions"]
    assert predict(client, "upper", "a")["predictions"]
