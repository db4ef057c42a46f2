"""Snapshots: they resolve names, and never change."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from sqlalchemy import event

from service.errors import RegistryUnavailable, UnknownTask, UnknownVersion
from service.publishing.checks import check_upload
from service.registry import Registry
from service.registry.snapshot import unknown_task
from tests.support.factories import make_adapter_bytes


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry with sst2 (versions 1 to 3, live 3, canary 2) and mnli (version 1, live)."""
    with closing(Registry.open(f"sqlite:///{tmp_path / 'registry.sqlite3'}")) as registry:
        for seed in range(3):
            registry.publish("sst2", check_upload(make_adapter_bytes(seed=seed)))
        registry.publish("mnli", check_upload(make_adapter_bytes(seed=9)))
        registry.set_alias("sst2", "canary", 2)
        yield registry


@pytest.mark.parametrize(
    ("reference", "version"), [("sst2", 3), ("sst2@1", 1), ("sst2@canary", 2), ("sst2@live", 3), ("mnli", 1)]
)
def test_resolve(registry: Registry, reference: str, version: int) -> None:
    """A reference is a task, optionally with @ and a number or an alias; otherwise its live version."""
    found = registry.snapshot().resolve(reference)
    assert (found.task, found.version) == (reference.partition("@")[0], version)


@pytest.mark.parametrize("selector", ["4", "0", "01", "٣", "", "beta", "live@3", "9" * 5000])
def test_resolve_unknown_version(registry: Registry, selector: str) -> None:
    """The error for a missing version lists the existing ones."""
    with pytest.raises(UnknownVersion, match=r"versions: 1, 2, 3; aliases: canary -> 2, live -> 3$"):
        registry.snapshot().resolve(f"sst2@{selector}")


def test_resolve_unknown_task(registry: Registry) -> None:
    """The error names the unknown task, cut to the length of a name, and no other task: the registry knows no
    permissions."""
    for name in ("sst-2", "x" * 10_000):
        with pytest.raises(UnknownTask) as raised:
            registry.snapshot().resolve(f"{name}@7")
        assert (raised.value.task, raised.value.near) == (name[:64], ())
        assert len(str(raised.value)) < 200


def test_near_matches() -> None:
    """The error for a mistyped name has similar names, if there are any."""
    assert unknown_task("sst-2", ["mnli", "sst2"]).near == ("sst2",)
    assert unknown_task("x" * 10_000, ["mnli", "sst2"]).near == ()


def test_near_matches_are_cheap_among_thousands() -> None:
    """The error for an unknown task takes little time, however many tasks exist."""
    names = [f"support-intent-routing-{number:05d}" for number in range(10_000)]
    started = time.perf_counter()
    error = unknown_task("support-intent-routing-5000", names)
    assert time.perf_counter() - started < 0.1
    assert error.near


def test_live_is_sorted_by_task(registry: Registry) -> None:
    """The live versions are ordered by task name."""
    registry.publish("mnli-2", check_upload(make_adapter_bytes()))
    registry.publish("mnli2", check_upload(make_adapter_bytes()))
    registry.publish("a", check_upload(make_adapter_bytes()), activate=False)
    assert [version.task for version in registry.snapshot().live()] == ["mnli", "mnli-2", "mnli2", "sst2"]


def test_a_snapshot_does_not_change(registry: Registry) -> None:
    """A snapshot that a request holds stays the same, whatever is published meanwhile."""
    snapshot = registry.snapshot()
    registry.publish("sst2", check_upload(make_adapter_bytes(seed=7)))
    assert snapshot.resolve("sst2").version == 3
    assert registry.snapshot().revision == snapshot.revision + 1
    entry = snapshot.tasks["sst2"]
    with pytest.raises(FrozenInstanceError):
        snapshot.revision = 0  # type: ignore[misc]
    for mapping in (snapshot.tasks, entry.versions, entry.aliases, entry.versions[1].metrics):
        with pytest.raises(TypeError, match="does not support item"):
            mapping["x"] = None  # type: ignore[index]


def test_a_snapshot_reads_no_bytes_and_nothing_twice(registry: Registry) -> None:
    """Adapter bytes stay in the database; a version that was read before is the same object again."""
    first = registry.snapshot()
    registry.publish("mnli", check_upload(make_adapter_bytes(seed=7)))
    statements: list[str] = []

    @event.listens_for(registry._engine, "before_cursor_execute")
    def remember(*call: object) -> None:
        statements.append(str(call[2]))  # connection, cursor, statement, ...

    second = registry.snapshot()
    assert second.resolve("sst2@1") is first.resolve("sst2@1")
    assert second.resolve("mnli").version == 2
    assert not [statement for statement in statements if "blobs.data" in statement]
    assert sum("metadata_json" in statement for statement in statements) == 1
    statements.clear()
    registry.snapshot()
    assert not [statement for statement in statements if "metadata_json" in statement]


def test_a_slow_snapshot_advances_with_each_attempt(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions parsed before a timeout are not parsed again, so a later call completes."""
    monkeypatch.setattr("service.registry.catalog.CHUNK", 1)
    parsed = []
    with closing(Registry.open(str(registry._engine.url))) as fresh:

        @event.listens_for(fresh._engine, "before_cursor_execute")
        def fail_at_the_second(*call: object) -> None:
            if "metadata_json" in str(call[2]):
                parsed.append(str(call[3]))
                if len(parsed) % 2 == 0:
                    raise sqlite3.OperationalError("it did not answer in time")

        for _ in range(3):
            with pytest.raises(RegistryUnavailable, match="in time"):
                fresh.snapshot()
        assert fresh.snapshot() == registry.snapshot()
    assert len(set(parsed)) == 4
    assert len(parsed) == 7
