"""Publishing and deleting versions in the registry, on SQLite and on PostgreSQL."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service.errors import (
    AdapterUnavailable,
    AliasConflict,
    InvalidInput,
    PreconditionFailed,
    UnknownVersion,
)
from service.publishing.checks import check_upload
from service.registry import Registry
from tests.support.databases import execute
from tests.support.factories import make_adapter_bytes
from tests.support.versions import live, publish


def test_publish_returns_the_version(registry: Registry) -> None:
    """A published version has the file's metadata, its digest, its size and the time."""
    data = make_adapter_bytes(labels=("no", "yes"))
    version, created, changes = registry.publish("sst2", check_upload(data))
    assert (created, changes) == (True, None)
    assert (version.task, version.version, version.num_bytes) == ("sst2", 1, len(data))
    assert version.digest == hashlib.sha256(data).hexdigest()
    assert version.spec.labels == ("no", "yes")
    assert abs(version.created_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert registry.snapshot().resolve("sst2") == version
    assert registry.read_adapter(version.digest) == data


def test_numbers_count_up_per_task(registry: Registry) -> None:
    """Versions are numbered 1, 2, 3 ... within each task."""
    assert [publish(registry, seed=seed) for seed in range(3)] == [1, 2, 3]
    assert publish(registry, "mnli") == 1


def test_same_bytes_again_are_the_same_version(registry: Registry) -> None:
    """Publishing a file twice creates one version; the second call changes nothing, not even the revision."""
    data = make_adapter_bytes()
    first = registry.publish("sst2", check_upload(data)).version
    revision = registry.revision()
    assert registry.publish("sst2", check_upload(data)) == (first, False, None)
    assert registry.revision() == revision


def test_same_bytes_again_move_live_back(registry: Registry) -> None:
    """Publishing an older version's file again makes it live, unless activation was declined."""
    publish(registry, seed=1)
    publish(registry, seed=2)
    assert publish(registry, seed=1, activate=False) == 1
    assert live(registry) == 2
    assert publish(registry, seed=1) == 1
    assert live(registry) == 1


def test_same_bytes_may_serve_two_tasks(registry: Registry) -> None:
    """Equal bytes are stored once, and stay until their last version is deleted."""
    publish(registry, "one", activate=False)
    publish(registry, "two", activate=False)
    digest = registry.snapshot().tasks["one"].versions[1].digest
    registry.delete_version("one", 1)
    assert registry.read_adapter(digest)
    registry.delete_version("two", 1)
    with pytest.raises(AdapterUnavailable, match="no longer"):
        registry.read_adapter(digest)


def test_without_activation_nothing_is_live(registry: Registry) -> None:
    """A version published with activate=False can be reached by number only."""
    publish(registry, activate=False)
    snapshot = registry.snapshot()
    assert snapshot.resolve("sst2@1").version == 1
    assert snapshot.live() == []
    with pytest.raises(UnknownVersion, match=r"no 'live'; versions: 1; aliases: none"):
        snapshot.resolve("sst2")


def test_a_number_is_never_used_again(registry: Registry) -> None:
    """After deletions, even of every version, numbering continues."""
    publish(registry, seed=1, activate=False)
    publish(registry, seed=2, activate=False)
    registry.delete_version("sst2", 2)
    registry.delete_version("sst2", 1)
    assert "sst2" not in registry.snapshot().tasks
    assert publish(registry, seed=2) == 3


def test_bad_task_names_are_refused(registry: Registry) -> None:
    """Only names that fit in a URL and a metric label can be published."""
    for task in ("", "SST2", "sst_2", "-sst2", "../sst2", "sst2@1", "sst2\n", "a" * 64):
        with pytest.raises(InvalidInput, match="a name is 1 to 63"):
            registry.publish(task, check_upload(make_adapter_bytes()))
    assert registry.revision() == 0


def test_only_the_checked_file_is_stored(registry: Registry) -> None:
    """A description of other bytes is refused, and nothing is stored."""
    checked = check_upload(make_adapter_bytes())
    with pytest.raises(ValueError, match="not the one that was checked"):
        registry.publish("sst2", replace(checked, data=make_adapter_bytes(seed=1)))
    with pytest.raises(ValueError, match="not the one that was checked"):
        registry.publish("sst2", replace(checked, data=b"PK\x03\x04 some archive"))
    assert registry.revision() == 0


def test_a_task_can_be_retired(registry: Registry) -> None:
    """Without aliases, all versions of a task can be deleted, and the task is gone."""
    publish(registry)
    with pytest.raises(PreconditionFailed):
        registry.delete_alias("sst2", "live", expected=7)
    registry.delete_alias("sst2", "live", expected=1)
    with pytest.raises(UnknownVersion, match="no alias 'live'"):
        registry.delete_alias("sst2", "live")
    with pytest.raises(AliasConflict):
        registry.rollback("sst2")
    registry.delete_version("sst2", 1)
    assert registry.snapshot().tasks == {}


def test_two_registries_see_each_other(registry: Registry, url: str) -> None:
    """Versions published by one process are found by another, at a new revision."""
    with closing(Registry.open(url)) as other:
        before = other.revision()
        publish(registry)
        assert other.revision() != before
        assert live(other) == 1
        publish(other, seed=1)
        assert live(registry) == 2


def test_publishing_at_once_gives_distinct_numbers(registry: Registry, url: str) -> None:
    """Writers wait for each other, within a process and between processes."""
    with closing(Registry.open(url)) as other, ThreadPoolExecutor(4) as threads:
        numbers = threads.map(lambda seed: publish((registry, other)[seed % 2], seed=seed), range(8))
        assert sorted(numbers) == list(range(1, 9))
    assert registry.revision() == 8


def test_a_failure_in_the_middle_changes_nothing(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes, version, alias, audit row and revision are one transaction."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("power cut")

    monkeypatch.setattr("service.registry.write.Write.move_alias", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        publish(registry)
    assert registry.revision() == 0
    assert registry.snapshot().tasks == {}
    assert registry.audit() == []
    monkeypatch.undo()
    assert publish(registry) == 1


def test_an_older_database_is_read_completely(registry: Registry, url: str) -> None:
    """If the revision falls, the next snapshot reuses nothing of the one before."""
    publish(registry, seed=1)
    publish(registry, "mnli")
    registry.snapshot()
    execute(url, "DELETE FROM aliases WHERE task = 'sst2'")
    execute(url, "UPDATE revision SET value = 1")
    snapshot = registry.snapshot()
    assert (snapshot.revision, [version.task for version in snapshot.live()]) == (1, ["mnli"])
