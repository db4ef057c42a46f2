"""The admin calls of the Python client, against a real server."""

import hashlib
import inspect
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from adapters.backbone.source import LoadedBackbone
from service import client as api
from service.client import AdaKronClient, Admin
from service.publishing.checks import check_upload
from service.registry import Registry
from tests.support.factories import make_adapter_bytes
from tests.support.paths import ROOT
from tests.support.serving import KEY, Listening, listening, settings_for

EXAMPLES = (("a cat", "a dog"), ("good", "bad"))
CLIENTS_PAGE = (ROOT / "docs" / "clients.md").read_text()


@pytest.fixture(scope="module")
def server(tiny: LoadedBackbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    folder = tmp_path_factory.mktemp("data")
    with closing(Registry.open(settings_for(folder).resolved_registry_url)) as registry:
        registry.publish(
            "judged", check_upload(make_adapter_bytes(identity=tiny.identity, pair=True, examples=EXAMPLES))
        )
    with listening(tiny, folder) as server:
        yield server


@pytest.fixture
def client(server: Listening) -> Iterator[AdaKronClient]:
    with AdaKronClient(f"http://127.0.0.1:{server.port}", f"{KEY}\n") as client:
        yield client


@pytest.fixture
def file(tiny: LoadedBackbone) -> bytes:
    return make_adapter_bytes(identity=tiny.identity, labels=("x", "y"), seed=1)


def test_the_life_of_a_version(client: AdaKronClient, file: bytes) -> None:
    """A file is uploaded, shown, downloaded, gets an alias and loses it, and is deleted."""
    admin = client.admin
    made = admin.upload("life", file, activate=False)
    assert (made.task, made.version, made.live, made.labels, made.changes) == ("life", 1, False, ("x", "y"), None)
    assert made.digest == hashlib.sha256(file).hexdigest()
    assert admin.version("life", 1).digest == made.digest
    assert admin.download("life", 1) == file
    assert admin.set_alias("life", "canary", 1).aliases == {"canary": 1}
    admin.delete_alias("life", "canary")
    shown = admin.task("life")
    assert (shown.aliases, shown.rollback_to, [version.version for version in shown.versions]) == ({}, None, [1])
    assert shown in admin.tasks()
    admin.delete_version("life", 1)
    with pytest.raises(api.NotFound, match="no task 'life'"):
        admin.version("life", 1)


def test_incompatible_versions(client: AdaKronClient, tiny: LoadedBackbone, file: bytes) -> None:
    """An upload that would break clients raises Incompatible with its version; so does a rollback."""
    client.admin.upload("kind", file)
    other = make_adapter_bytes(identity=tiny.identity, type="regression", labels=())
    with pytest.raises(api.Incompatible, match="would break the clients of version 1") as raised:
        client.admin.upload("kind", other)
    assert (raised.value.body["version"], raised.value.body["changes"]["live"]) == (2, 1)
    moved = client.admin.set_alias("kind", "live", 2, allow_incompatible=True)
    assert moved.changes is not None
    assert (moved.changes.compatible, moved.changes.type) == (False, {"before": "single_label", "after": "regression"})
    with pytest.raises(api.Incompatible):
        client.admin.rollback("kind")
    assert client.admin.rollback("kind", allow_incompatible=True).aliases == {"live": 1}


def test_what_helps_to_judge_a_version(client: AdaKronClient) -> None:
    """Its examples are inputs as `predict` takes them; its activity counts the labels that it answered."""
    inputs = client.admin.examples("judged", 1)
    assert inputs == EXAMPLES
    client.predict("judged", inputs)
    (activity,) = client.admin.activity("judged")
    assert (activity.version, activity.num_inputs, sum(label.count for label in activity.labels)) == (1, 2, 2)


def test_weights_keys_and_audit(client: AdaKronClient, server: Listening, file: bytes) -> None:
    """A task's weight is set; a key works until it is revoked; the audit has all of it, page by page."""
    client.admin.upload("shared", file)
    assert client.admin.set_weight("shared", 2).weight == 2
    made = client.admin.create_key("ci", ["upload"], ["shared"])
    with AdaKronClient(f"http://127.0.0.1:{server.port}", made.key) as other:
        assert [task.task for task in other.admin.tasks()] == ["shared"]
        with pytest.raises(api.Forbidden):
            other.admin.set_weight("shared", 1)
        assert client.admin.revoke_key(made.id).revoked_at
        with pytest.raises(api.Unauthorised):
            other.admin.tasks()
    listed = client.admin.keys()
    assert [(key.id, key.name, key.scopes, key.tasks) for key in listed] == [(made.id, "ci", ("upload",), ("shared",))]
    entries = client.admin.audit(limit=3)
    assert [entry.action for entry in entries] == ["revoke_key", "create_key", "set_weight"]
    assert client.admin.audit(before=entries[0].id, limit=2) == entries[1:]
    assert {entry.task for entry in client.admin.audit(task="shared")} == {"shared"}


@pytest.mark.parametrize("change", [lambda admin: admin.rollback("t"), lambda admin: admin.create_key("x", [])])
def test_changes_are_sent_once(change: Any) -> None:
    """A change whose answer was lost may have happened, so the client does not send it again; it repeats a GET."""
    requests: list[str] = []

    def fail(request: httpx.Request) -> httpx.Response:
        requests.append(request.method)
        return httpx.Response(503 if len(requests) == 1 else 404, json={})

    with AdaKronClient("http://x", transport=httpx.MockTransport(fail)) as client:
        with pytest.raises(api.Unavailable):
            change(client.admin)
        assert requests == ["POST"]
        requests.clear()
        with pytest.raises(api.NotFound):
            client.admin.task("t")
    assert requests == ["GET", "GET"]


def test_a_damaged_download() -> None:
    """A file whose SHA-256 is not that of the ETag is never returned."""
    answer = httpx.Response(200, content=b"cut", headers={"ETag": f'"{"0" * 64}"'})
    with (
        AdaKronClient("http://x", transport=httpx.MockTransport(lambda _: answer)) as client,
        pytest.raises(api.Damaged, match="t@1 arrived damaged"),
    ):
        client.admin.download("t", 1)


@pytest.mark.parametrize(
    ("url", "key"),
    [("http://[::1", None), ("http://x:port", None), ("x:8000", None), ("", None), ("http://x", "two words")],
)
def test_what_cannot_be_an_address_or_a_key(url: str, key: str | None) -> None:
    """The client refuses a malformed URL or key when it is made."""
    with pytest.raises(api.InvalidArgument):
        AdaKronClient(url, key)


def test_every_call_and_error_is_documented() -> None:
    """docs/clients.md names each admin call and each exception."""
    calls = [name for name, _ in inspect.getmembers(Admin, inspect.isfunction) if not name.startswith("_")]
    errors = [name for name, kind in vars(api).items() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(calls) + len(errors) == 30
    for name in calls:
        assert f"`{name}(" in CLIENTS_PAGE, name
    for name in errors:
        assert f"`{name}`" in CLIENTS_PAGE, name
