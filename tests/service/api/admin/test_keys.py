"""Keys over HTTP: made, listed, revoked, and what each is good for."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from adapters.backbone.source import LoadedBackbone
from service.registry import Registry
from service.settings import Settings
from tests.support.factories import make_adapter_bytes
from tests.support.serving import ADMIN, KEY, running, upload

Headers = dict[str, str]


@pytest.fixture
def client(tiny: LoadedBackbone, tmp_path: Path) -> Iterator[TestClient]:
    with running(tiny, tmp_path, require_key=True) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        upload(client, "other", make_adapter_bytes(identity=tiny.identity, seed=1))
        yield client


def make_key(client: TestClient, *scopes: str, tasks: tuple[str, ...] = (), name: str = "ci") -> dict[str, Any]:
    body = {"name": name, "scopes": list(scopes), "tasks": list(tasks)}
    response = client.post("/admin/v1/keys", json=body, headers=ADMIN)
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


def bearer(key: dict[str, Any]) -> Headers:
    return {"Authorization": f"Bearer {key['key']}"}


def ask(client: TestClient, headers: Headers, task: str = "t") -> int:
    return client.post(f"/v1/{task}/predict", json={"inputs": "a"}, headers=headers).status_code


def test_a_key_is_shown_once(client: TestClient, tmp_path: Path) -> None:
    """The answer to its making has the key; no list, audit row or byte of the database has it."""
    made = make_key(client, "predict", "upload", tasks=("t",), name="the nightly build")
    listed = client.get("/admin/v1/keys", headers=ADMIN).json()["keys"]
    assert listed == [{name: value for name, value in made.items() if name != "key"}]
    assert made["scopes"] == ["predict", "upload"]
    assert made["revoked_at"] is None
    secret = made["key"].split("_", 2)[2]
    assert secret not in client.get("/admin/v1/audit", headers=ADMIN).text
    assert secret.encode() not in (tmp_path / "registry.sqlite3").read_bytes()


def test_predict_needs_a_key_where_it_is_required(client: TestClient) -> None:
    """With ADAKRON_REQUIRE_KEY predictions and the list of tasks need the scope predict."""
    key = bearer(make_key(client, "predict"))
    assert ask(client, {}) == 401
    assert ask(client, key) == ask(client, ADMIN) == 200
    assert client.get("/v1/tasks").status_code == client.get("/v1/tasks/t").status_code == 401
    assert client.get("/v1/tasks/t", headers=key).status_code == 200
    assert client.get("/health/ready").status_code == client.get("/metrics").status_code == 200


def test_predict_is_open_by_default(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """Without the setting predictions need no key, and a key that is sent does no harm."""
    with running(tiny, tmp_path) as client:
        upload(client, "t", make_adapter_bytes(identity=tiny.identity))
        assert ask(client, {}) == ask(client, {"Authorization": "Bearer anything"}) == 200
        assert client.get("/v1/tasks").status_code == 200


def test_a_key_for_one_task(client: TestClient) -> None:
    """It sees and does nothing of the others, and is not even told whether they exist."""
    key = bearer(make_key(client, "predict", "upload", tasks=("t",)))
    assert ask(client, key) == ask(client, key, "t@1") == 200
    for task in ("other", "other@1", "no-such-task"):
        response = client.post(f"/v1/{task}/predict", json={"inputs": "a"}, headers=key)
        assert (response.status_code, response.json()["reason"]) == (403, "key_task")
    assert [task["task"] for task in client.get("/v1/tasks", headers=key).json()["tasks"]] == ["t"]
    assert [task["task"] for task in client.get("/admin/v1/tasks", headers=key).json()["tasks"]] == ["t"]
    assert client.get("/admin/v1/tasks/t", headers=key).status_code == 200
    assert client.get("/admin/v1/tasks/other", headers=key).status_code == 403


def test_an_upload_key_publishes(client: TestClient, tiny: LoadedBackbone) -> None:
    """It uploads, moves aliases and rolls back; it deletes nothing, makes no keys and reads no audit."""
    key = bearer(make_key(client, "upload"))
    data = make_adapter_bytes(identity=tiny.identity, seed=5)
    headers = key | {"Content-Type": "application/octet-stream"}
    assert client.post("/admin/v1/tasks/t/versions", content=data, headers=headers).status_code == 201
    assert client.put("/admin/v1/tasks/t/aliases/live", json={"version": 1}, headers=key).status_code == 200
    assert client.post("/admin/v1/tasks/t/rollback", headers=key).status_code == 200
    for method, path in (
        ("DELETE", "/admin/v1/tasks/t/versions/1"),
        ("DELETE", "/admin/v1/tasks/t/aliases/live"),
        ("GET", "/admin/v1/keys"),
        ("GET", "/admin/v1/audit"),
    ):
        response = client.request(method, path, headers=key)
        assert (response.status_code, response.json()["reason"]) == (403, "key_scope"), path
    assert ask(client, key) == 403


def test_the_audit_names_the_key(client: TestClient, tiny: LoadedBackbone) -> None:
    """Who, what, when and from where stand in the audit, newest first and page by page."""
    made = make_key(client, "upload", name="nightly")
    headers = bearer(made) | {"Content-Type": "application/octet-stream"}
    data = make_adapter_bytes(identity=tiny.identity, seed=5)
    client.post("/admin/v1/tasks/t/versions", content=data, headers=headers)
    entries = client.get("/admin/v1/audit", headers=ADMIN).json()["entries"]
    assert [(entry["action"], entry["actor"], entry["task"]) for entry in entries[:3]] == [
        ("set_alias", f"nightly ({made['id']})", "t"),
        ("publish", f"nightly ({made['id']})", "t"),
        ("create_key", "admin", None),
    ]
    assert entries[1]["version"] == 2
    assert entries[1]["source"] == "testclient"
    page = client.get("/admin/v1/audit", params={"limit": 1, "before": entries[0]["id"]}, headers=ADMIN)
    assert page.json()["entries"] == entries[1:2]
    of_task = client.get("/admin/v1/audit", params={"task": "other"}, headers=ADMIN).json()["entries"]
    assert {entry["task"] for entry in of_task} == {"other"}


def test_a_revoked_key_is_good_for_nothing_at_once(client: TestClient) -> None:
    """Revoking answers with the key, and the next request with it is refused; the list keeps it."""
    made = make_key(client, "admin")
    assert client.get("/admin/v1/keys", headers=bearer(made)).status_code == 200
    answer = client.delete(f"/admin/v1/keys/{made['id']}", headers=ADMIN)
    assert answer.json()["revoked_at"] is not None
    response = client.get("/admin/v1/keys", headers=bearer(made))
    assert (response.status_code, response.json()["reason"]) == (401, "key_revoked")
    assert client.delete(f"/admin/v1/keys/{made['id']}", headers=ADMIN).json() == answer.json()
    assert client.get("/admin/v1/keys", headers=ADMIN).json()["keys"] == [answer.json()]


def test_keys_of_another_process_are_followed(client: TestClient, tmp_path: Path) -> None:
    """A key that another server made opens this one within a second, and stops doing so when that revokes it."""
    registry = Registry.open(Settings(data_dir=tmp_path).resolved_registry_url)
    key, text = registry.create_key("elsewhere", ["predict"], actor="test", source="")
    headers = {"Authorization": f"Bearer {text}"}
    assert _until(client, headers, 200)
    registry.revoke_key(key.id, actor="test", source="")
    assert _until(client, headers, 401)
    registry.close()


def _until(client: TestClient, headers: Headers, status: int) -> bool:
    return any(ask(client, headers) == status for _ in range(200))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "x"},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["root"]},
        {"name": "", "scopes": ["admin"]},
        {"name": "x" * 64, "scopes": ["admin"]},
        {"name": "two\nlines", "scopes": ["admin"]},
        {"name": "x", "scopes": ["predict"], "tasks": ["NOT A TASK"]},
        {"name": "x", "scopes": ["predict"], "key": "of my own"},
    ],
)
def test_keys_that_cannot_be(client: TestClient, body: dict[str, Any]) -> None:
    """A key without a name, a known scope or proper task names is not made."""
    response = client.post("/admin/v1/keys", json=body, headers=ADMIN)
    assert (response.status_code, response.json()["error_type"]) == (422, "validation")
    assert client.get("/admin/v1/keys", headers=ADMIN).json() == {"keys": []}


@pytest.mark.parametrize("key_id", ["abc", "0" * 12, "root", "x" * 500, "%00", "%F0%9F%98%80"])
def test_unknown_keys_cannot_be_revoked(client: TestClient, key_id: str) -> None:
    """An unknown key is 404, and the first key cannot be revoked over HTTP."""
    response = client.delete(f"/admin/v1/keys/{key_id}", headers=ADMIN)
    assert (response.status_code, response.json()["error_type"]) == (404, "unknown_key")
    assert client.get("/admin/v1/keys", headers=ADMIN).status_code == 200


def test_no_key_stands_in_a_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """No log line of any level has a key, after valid and invalid calls."""
    caplog.set_level(logging.DEBUG)
    made = make_key(client, "admin")
    secret = made["key"].split("_", 2)[2]
    for headers in (bearer(made), ADMIN, {"Authorization": f"Bearer {made['key']}x"}):
        for method, path in (
            ("GET", "/admin/v1/keys"),
            ("GET", "/nowhere"),
            ("DELETE", "/admin/v1/tasks/t/versions/1"),
        ):
            client.request(method, path, headers=headers)
    client.delete(f"/admin/v1/keys/{made['id']}", headers=ADMIN)
    assert caplog.records
    for record in caplog.records:
        text = f"{record.getMessage()} {record.__dict__}"
        assert secret not in text
        assert KEY not in text
