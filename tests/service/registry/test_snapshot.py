"""Snapshots: what a name means, and that they never change."""

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
    """With sst2 (versions 1 to 3, live 3, canary 2) and mnli (version 1, live)."""
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
    """A reference is a task, with a number or an alias after an @, or its live version without."""
    found = registry.snapshot().resolve(reference)
    assert (found.task, found.version) == (reference.partition("@")[0], version)


@pytest.mark.parametrize("selector", ["4", "0", "01", "٣", "", "beta", "live@3", "9" * 5000])
def test_resolve_unknown_version(registry: Registry, selector: str) -> None:
    """What a task does not have is answered with what it has."""
    with pytest.raises(UnknownVersion, match=r"versions: 1, 2, 3; aliases: canary -> 2, live -> 3$"):
        registry.snapshot().resolve(f"sst2@{selector}")


def test_resolve_unknown_task(registry: Registry) -> None:
    """An unknown task is named, cut to a name's length, and no other is: who may know which is not for the registry."""
    for name in ("sst-2", "x" * 10_000):
        with pytest.raises(UnknownTask) as raised:
            registry.snapshot().resolve(f"{name}@7")
        assert (raised.value.task, raised.value.near) == (name[:64], ())
        assert len(str(raised.value)) < 200


def test_near_matches() -> None:
    """The names that a mistyped one may have meant, where there are any."""
    assert unknown_task("sst-2", ["mnli", "sst2"]).near == ("sst2",)
    assert unknown_task("x" * 10_000, ["mnli", "sst2"]).near == ()


def test_near_matches_are_cheap_among_thousands() -> None:
    """A request for a task that is not there takes little time, however many there are."""
    names = [f"support-intent-routing-{number:05d}" for number in range(10_000)]
    started = time.perf_counter()
    error = unknown_task("support-intent-routing-5000", names)
    assert time.perf_counter() - started < 0.1
    assert error.near


def test_live_is_sorted_by_task(registry: Registry) -> None:
    """The live versions come in the order of the tasks' names."""
    registry.publish("mnli-2", check_upload(make_adapter_bytes()))
    registry.publish("mnli2", check_upload(make_adapter_bytes()))
    registry.publish("a", check_upload(make_adapter_bytes()), activate=False)
    assert [version.task for version in registry.snapshot().live()] == ["mnli", "mnli-2", "mnli2", "sst2"]


def test_a_snapshot_does_not_change(registry: Registry) -> None:
    """A request that holds one sees the same versions, whatever is published meanwhile."""
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


def test_a_snapshot_that_takes_too_long_gets_further_each_time(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions that were parsed before the time was over are not parsed again: some call comes to the end."""
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
