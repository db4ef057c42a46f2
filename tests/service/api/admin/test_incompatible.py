"""Over HTTP: a version that would break the clients of the live one is published, and does not become live unasked."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from adapters.backbone.source import LoadedBackbone
from tests.support.databases import DATABASES, fresh_database
from tests.support.factories import make_adapter_bytes
from tests.support.serving import ADMIN, UPLOAD, predict, running, upload

TASK = "/admin/v1/tasks/stsb"
ALLOWED = {"allow_incompatible": "true"}
Parameters = dict[str, str]


@pytest.fixture(scope="module")
def files(tiny: LoadedBackbone) -> dict[str, bytes]:
    return {
        "pairs": make_adapter_bytes(identity=tiny.identity, type="regression", labels=(), pair=True),
        "texts": make_adapter_bytes(identity=tiny.identity),
        "more": make_adapter_bytes(identity=tiny.identity, labels=("negative", "positive", "neutral")),
    }


@pytest.fixture
def client(tiny: LoadedBackbone, tmp_path: Path) -> Iterator[TestClient]:
    with running(tiny, tmp_path) as client:
        yield client


def send(client: TestClient, data: bytes, **parameters: str) -> httpx.Response:
    return client.post(f"{TASK}/versions", content=data, headers=UPLOAD, params=parameters)


def put_live(client: TestClient, version: int, **parameters: str) -> httpx.Response:
    return client.put(f"{TASK}/aliases/live", json={"version": version}, headers=ADMIN, params=parameters)


def roll_back(client: TestClient, **parameters: str) -> httpx.Response:
    return client.post(f"{TASK}/rollback", headers=ADMIN, params=parameters)


def shown(client: TestClient) -> dict[str, Any]:
    body: dict[str, Any] = client.get(TASK, headers=ADMIN).json()
    return body


def test_an_upload_that_breaks_clients(client: TestClient, files: dict[str, bytes]) -> None:
    """It is 409 with the number, the digest and each difference; clients of the live version go on."""
    upload(client, "stsb", files["pairs"])
    response = send(client, files["texts"])
    body = response.json()
    assert (response.status_code, body["error_type"], body["reason"]) == (409, "incompatible", "incompatible")
    assert body["version"] == 2
    assert body["digest"] == shown(client)["versions"][1]["digest"]
    assert body["changes"] == {
        "live": 1,
        "compatible": False,
        "breaking": ["type: regression -> single_label", "inputs: pairs of texts -> single texts"],
        "notes": ["labels added: 'negative', 'positive'"],
        "type": {"before": "regression", "after": "single_label"},
        "pair": {"before": True, "after": False},
        "labels_removed": [],
        "labels_added": ["negative", "positive"],
        "labels_reordered": False,
        "max_length": None,
        "context": None,
    }
    for words in ("stsb@2 was not made live", "version 1: type: regression -> single_label; inputs:", "allow_inc"):
        assert words in body["error"]
    assert predict(client, "stsb", [["a", "b"]])["version"] == 1
    assert predict(client, "stsb@2", "a")["version"] == 2
    assert 'adakron_uploads_total{result="incompatible"} 1.0' in client.get("/metrics").text


@pytest.mark.parametrize("way", ["upload", "activate", "roll back"])
def test_no_route_makes_it_live_unasked(client: TestClient, files: dict[str, bytes], way: str) -> None:
    """Upload, activation and rollback answer 409 with the same differences, until the query allows it."""
    upload(client, "stsb", files["pairs"])
    upload(client, "stsb", files["texts"], activate=False)
    if way == "roll back":
        assert put_live(client, 2, **ALLOWED).status_code == put_live(client, 1, **ALLOWED).status_code == 200
    ways: dict[str, Callable[..., httpx.Response]] = {
        "upload": lambda **parameters: send(client, files["texts"], **parameters),
        "activate": lambda **parameters: put_live(client, 2, **parameters),
        "roll back": lambda **parameters: roll_back(client, **parameters),
    }
    refused = ways[way]()
    assert (refused.status_code, refused.json()["error_type"]) == (409, "incompatible")
    assert refused.json()["changes"] == shown(client)["versions"][1]["changes"]
    assert shown(client)["aliases"] == {"live": 1}
    assert ways[way](allow_incompatible="false").status_code == 409
    allowed = ways[way](**ALLOWED)
    assert allowed.status_code == 200, allowed.text
    assert allowed.json()["changes"] == refused.json()["changes"]
    assert predict(client, "stsb", "a")["version"] == 2
    entry = client.get("/admin/v1/audit", params={"limit": 1}, headers=ADMIN).json()["entries"][0]
    assert entry["detail"] == (
        "was 1; incompatible, as allowed: type: regression -> single_label; inputs: pairs of texts -> single texts"
    )


def test_the_console_can_ask_before(client: TestClient, files: dict[str, bytes]) -> None:
    """Each version tells what it would change for clients, and the task where a rollback leads; null where nothing."""
    upload(client, "stsb", files["texts"])
    assert shown(client)["rollback_to"] is None
    answer = upload(client, "stsb", files["more"])
    assert (answer["live"], answer["changes"]["notes"]) == (True, ["labels added: 'neutral'"])
    task = shown(client)
    assert task["rollback_to"] == 1
    assert task["versions"][1]["changes"] is None
    assert task["versions"][0]["changes"]["breaking"] == ["labels removed: 'neutral'"]
    assert client.get(f"{TASK}/versions/1", headers=ADMIN).json() == task["versions"][0]
    assert roll_back(client).status_code == 409
    assert roll_back(client, **ALLOWED).json()["rollback_to"] is None


def test_other_aliases_and_a_task_without_live(client: TestClient, files: dict[str, bytes]) -> None:
    """A canary may differ, and the answer says in what; where nothing is live any version may become so."""
    upload(client, "stsb", files["pairs"])
    upload(client, "stsb", files["texts"], activate=False)
    canary = client.put(f"{TASK}/aliases/canary", json={"version": 2}, headers=ADMIN)
    assert canary.status_code == 200
    assert canary.json()["changes"]["compatible"] is False
    assert client.delete(f"{TASK}/aliases/live", headers=ADMIN).status_code == 204
    assert [version["changes"] for version in shown(client)["versions"]] == [None, None]
    live = put_live(client, 2)
    assert (live.status_code, live.json()["changes"]) == (200, None)


@pytest.mark.parametrize("kind", DATABASES)
def test_uploads_to_two_replicas_at_once(
    tiny: LoadedBackbone, files: dict[str, bytes], tmp_path: Path, kind: str
) -> None:
    """Both versions are published; one is live, and the answer to the other says that it is not, and why."""
    with (
        fresh_database(kind, tmp_path) as url,
        running(tiny, tmp_path, registry_url=url) as one,
        running(tiny, tmp_path, registry_url=url) as other,
    ):
        for _ in range(3):
            with ThreadPoolExecutor(2) as threads:
                answers = list(threads.map(send, (one, other), (files["pairs"], files["texts"])))
            live = shown(one)["aliases"]["live"]
            winner, loser = sorted(answers, key=lambda answer: answer.json()["version"] != live)
            assert winner.status_code in (200, 201)
            assert winner.json()["live"] is True
            assert (loser.status_code, loser.json().get("live")) in ((409, None), (200, False), (201, False))
            assert loser.json()["changes"]["compatible"] is False
            assert one.delete(f"{TASK}/aliases/live", headers=ADMIN).status_code == 204
