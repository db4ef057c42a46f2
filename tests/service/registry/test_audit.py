"""The audit log: every write adds a row, and nothing else does."""

import hashlib
from datetime import UTC

import pytest

from service.errors import AliasConflict
from service.publishing.checks import check_upload
from service.registry import Registry
from tests.support.factories import make_adapter_bytes


def publish(registry: Registry, task: str = "sst2", *, seed: int) -> None:
    registry.publish(task, check_upload(make_adapter_bytes(seed=seed)))


def test_every_change_leaves_an_audit_row(registry: Registry) -> None:
    """Rows hold actor, source and change, newest first; refused calls and calls without effect add none."""
    registry.publish("sst2", check_upload(make_adapter_bytes(seed=1)), actor="ann", source="10.0.0.1")
    publish(registry, seed=1)
    publish(registry, seed=2)
    registry.rollback("sst2", actor="bob")
    with pytest.raises(AliasConflict):
        registry.delete_version("sst2", 1)
    registry.delete_version("sst2", 2)
    rows = registry.audit()
    assert [(row.action, row.version, row.alias, row.detail) for row in rows if row.action != "publish"] == [
        ("delete_version", 2, None, hashlib.sha256(make_adapter_bytes(seed=2)).hexdigest()),
        ("rollback", 1, "live", "was 2"),
        ("set_alias", 2, "live", "was 1"),
        ("set_alias", 1, "live", ""),
    ]
    assert (rows[-1].action, rows[-1].actor, rows[-1].source) == ("publish", "ann", "10.0.0.1")
    assert rows[-1].at.tzinfo is UTC
    assert rows[1].actor == "bob"
    assert registry.audit(limit=2) == rows[:2]


def test_the_audit_can_be_paged(registry: Registry) -> None:
    """`before` continues after the last page: ids fall, and no row is repeated or left out."""
    for seed in range(4):
        publish(registry, seed=seed)
    every = registry.audit()
    assert len(every) == 8
    pages, before = [], None
    while page := registry.audit(3, before=before):
        pages.append(page)
        before = page[-1].id
    assert [len(page) for page in pages] == [3, 3, 2]
    assert [row for page in pages for row in page] == every
    assert [row.id for row in every] == sorted((row.id for row in every), reverse=True)


def test_the_audit_of_one_task(registry: Registry) -> None:
    """`task` filters out the rows of other tasks and those without a task."""
    publish(registry, "one", seed=1)
    publish(registry, "two", seed=2)
    registry.create_key("a key", {"predict"})
    assert [(row.action, row.task) for row in registry.audit(task="one")] == [("set_alias", "one"), ("publish", "one")]
    assert [row.action for row in registry.audit(1, before=registry.audit(1)[0].id, task="two")] == ["set_alias"]
    assert registry.audit(task="three") == []
