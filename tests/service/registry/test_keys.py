"""Keys in the registry: created, listed, revoked; only a hash is stored."""

import json
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, inspect, text

from service.auth.keys import same_secret, split_key
from service.errors import InvalidInput, UnknownKey
from service.publishing.checks import check_upload
from service.registry import Registry
from tests.support.factories import make_adapter_bytes


def test_a_new_key(registry: Registry) -> None:
    """A new key has name, scopes, tasks and time, its text opens it, and every later snapshot has it."""
    key, secret_text = registry.create_key("Ann's laptop", ["upload", "predict"], ["sst2", "not-there-yet"])
    assert (key.name, key.scopes, key.tasks) == ("Ann's laptop", {"upload", "predict"}, {"sst2", "not-there-yet"})
    assert abs(key.created_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert key.revoked_at is None
    split = split_key(secret_text)
    assert split is not None
    assert split[0] == key.id
    assert same_secret(split[1], key.secret_sha256)
    assert registry.snapshot().keys == {key.id: key}


def test_a_key_is_for_all_tasks_unless_some_are_named(registry: Registry) -> None:
    """A key without tasks is valid for every task."""
    key, _ = registry.create_key("everything", {"admin"})
    assert key.tasks == frozenset()


@pytest.mark.parametrize("name", ["", " ", "a ", " a", "a\nb", "a\x00", "x" * 64, "\ud800", "tab\there"])
def test_bad_names_are_refused(registry: Registry, name: str) -> None:
    """A key's name is printable, in one line, and not empty."""
    with pytest.raises(InvalidInput, match="a key's name"):
        registry.create_key(name, {"predict"})


@pytest.mark.parametrize("scopes", [[], ["root"], ["predict", "root"], "admin", ["Admin"]])
def test_bad_scopes_are_refused(registry: Registry, scopes: list[str]) -> None:
    """A key has at least one of the three scopes, and no other."""
    with pytest.raises(InvalidInput, match="scopes admin, upload, predict"):
        registry.create_key("a key", scopes)
    assert registry.revision() == 0


def test_bad_tasks_are_refused(registry: Registry) -> None:
    """A key for an invalid task name is refused."""
    with pytest.raises(InvalidInput, match=r"task 'SST 2': .*; sst-2 would do"):
        registry.create_key("a key", {"predict"}, ["sst2", "SST 2"])


def test_revoking(registry: Registry) -> None:
    """A revoked key stays listed with the time; revoking it again changes nothing; other keys stay valid."""
    key, _ = registry.create_key("old", {"predict"})
    other, _ = registry.create_key("new", {"predict"})
    revoked = registry.revoke_key(key.id)
    assert revoked == replace(key, revoked_at=revoked.revoked_at)
    assert revoked.revoked_at is not None
    assert revoked.revoked_at >= key.created_at
    revision = registry.revision()
    assert registry.revoke_key(key.id) == revoked
    assert registry.revision() == revision
    assert registry.snapshot().keys == {key.id: revoked, other.id: other}


@pytest.mark.parametrize("key_id", ["0" * 12, "", "a\x00", "\ud800", "0" * 10_000])
def test_an_unknown_key_cannot_be_revoked(registry: Registry, key_id: str) -> None:
    """Revoking an unknown id raises UnknownKey, whatever characters the id has."""
    with pytest.raises(UnknownKey, match="no key"):
        registry.revoke_key(key_id)
    assert registry.audit() == []


def test_the_secret_is_nowhere_in_the_database(registry: Registry, url: str) -> None:
    """No column holds a key's text or secret; the audit log does not even hold the hash."""
    key, secret_text = registry.create_key("a key", {"admin"})
    registry.revoke_key(key.id)
    _, secret = split_key(secret_text) or ("", "")
    with registry._engine.connect() as connection:
        rows = {
            table: str(connection.execute(text(f"SELECT * FROM {table}")).all())
            for table in inspect(connection).get_table_names()
        }
    assert key.secret_sha256 in rows["keys"]
    assert not [table for table, content in rows.items() if secret in content]
    assert key.secret_sha256 not in rows["audit"]


def test_every_change_of_a_key_leaves_an_audit_row(registry: Registry) -> None:
    """The audit log says who created and revoked which key, with its scopes and tasks."""
    key, _ = registry.create_key("Ann", ["upload", "admin"], ["b", "a"], actor="root", source="10.0.0.1")
    registry.revoke_key(key.id, actor="bob")
    revoked, created = registry.audit()
    assert (created.action, created.actor, created.source, created.task) == ("create_key", "root", "10.0.0.1", None)
    assert json.loads(created.detail) == {
        "id": key.id,
        "name": "Ann",
        "scopes": ["admin", "upload"],
        "tasks": ["a", "b"],
    }
    assert (revoked.action, revoked.actor, revoked.detail) == ("revoke_key", "bob", created.detail)


def test_keys_follow_into_other_processes(registry: Registry, url: str) -> None:
    """Keys created or revoked by one registry object are in another's next snapshot, which reads no task again."""
    registry.publish("sst2", check_upload(make_adapter_bytes()))
    with closing(Registry.open(url)) as other:
        before = other.snapshot()
        key, _ = registry.create_key("a key", {"predict"})
        statements: list[str] = []

        @event.listens_for(other._engine, "before_cursor_execute")
        def remember(*call: object) -> None:
            statements.append(str(call[2]))  # connection, cursor, statement, ...

        assert other.snapshot().keys == {key.id: key}
        assert other.snapshot().tasks is before.tasks
        assert not [statement for statement in statements if "versions" in statement or "aliases" in statement]
        revoked = registry.revoke_key(key.id)
        assert other.snapshot().keys == {key.id: revoked}
        registry.publish("mnli", check_upload(make_adapter_bytes()))
        assert other.snapshot().keys[key.id] == revoked
