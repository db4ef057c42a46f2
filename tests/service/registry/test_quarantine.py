"""Damage in the database: detected, never served, reported, and repaired by publishing the file again."""

import hashlib
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from adapters import checkpoint
from service.errors import AdapterUnavailable, AliasConflict, UnknownTask, UnknownVersion
from service.publishing.checks import check_upload
from service.registry import Registry
from service.registry.models import row_sha256
from tests.support.databases import execute
from tests.support.factories import make_adapter_bytes

DATA = [make_adapter_bytes(seed=seed) for seed in range(3)]
DIGESTS = [hashlib.sha256(data).hexdigest() for data in DATA]


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    """Versions 1, 2 and 3 of `sst2`, 3 live."""
    with closing(Registry.open(url)) as registry:
        for data in DATA:
            registry.publish("sst2", check_upload(data))
        yield registry


def damage(url: str, index: int) -> None:
    """Flip one bit of a stored file."""
    data = DATA[index]
    execute(
        url,
        "UPDATE blobs SET data = :data WHERE digest = :digest",
        data=data[:-1] + bytes([data[-1] ^ 1]),
        digest=DIGESTS[index],
    )


def find_damage(registry: Registry, index: int) -> None:
    with pytest.raises(AdapterUnavailable, match="damaged in the registry: publish its file again"):
        registry.read_adapter(DIGESTS[index])


def test_damaged_bytes_are_never_served(registry: Registry, url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Reading damaged bytes always raises; they are logged and audited once, for every version that has them."""
    registry.publish("other", check_upload(DATA[1]))
    damage(url, 1)
    for _ in range(3):
        find_damage(registry, 1)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert DIGESTS[1] in caplog.text
    rows = [row for row in registry.audit() if row.action == "quarantine"]
    assert {(row.task, row.version, row.actor, row.detail) for row in rows} == {
        ("sst2", 2, "registry", DIGESTS[1]),
        ("other", 1, "registry", DIGESTS[1]),
    }
    assert len(rows) == 2
    assert registry.read_adapter(DIGESTS[0]) == DATA[0]


def test_the_snapshot_flags_quarantine(registry: Registry, url: str) -> None:
    """After the detection every snapshot has the flag, also in other processes."""
    with closing(Registry.open(url)) as other:
        assert not other.snapshot().tasks["sst2"].versions[2].quarantined
        damage(url, 1)
        find_damage(registry, 1)
        for process in (registry, other):
            versions = process.snapshot().tasks["sst2"].versions
            assert [version.quarantined for version in versions.values()] == [False, True, False]


def test_publishing_again_lifts_the_quarantine(registry: Registry, url: str) -> None:
    """Publishing the file again repairs the same number in every task that has it, and is audited."""
    registry.publish("other", check_upload(DATA[1]))
    damage(url, 1)
    find_damage(registry, 1)
    version, created, _ = registry.publish("sst2", check_upload(DATA[1]), activate=False, actor="ann")
    assert (version.version, version.quarantined, created) == (2, False, False)
    assert registry.read_adapter(DIGESTS[1]) == DATA[1]
    snapshot = registry.snapshot()
    assert not snapshot.tasks["sst2"].versions[2].quarantined
    assert not snapshot.tasks["other"].versions[1].quarantined
    repaired = [(row.task, row.version, row.actor) for row in registry.audit() if row.action == "repair_bytes"]
    assert sorted(repaired) == [("other", 1, "ann"), ("sst2", 2, "ann")]


def test_publishing_again_repairs_undetected_damage(registry: Registry, url: str) -> None:
    """Publishing the file again also repairs damage that was not detected yet."""
    damage(url, 1)
    registry.publish("sst2", check_upload(DATA[1]))
    assert registry.read_adapter(DIGESTS[1]) == DATA[1]
    assert [row.action for row in registry.audit(limit=2)] == ["set_alias", "repair_bytes"]


def test_no_alias_moves_to_a_damaged_version(registry: Registry, url: str) -> None:
    """An alias cannot be pointed to a damaged version; a rollback skips it."""
    damage(url, 1)
    find_damage(registry, 1)
    with pytest.raises(AliasConflict, match="version 2 of task 'sst2' is damaged"):
        registry.set_alias("sst2", "canary", 2)
    assert registry.rollback("sst2").version.version == 1
    with pytest.raises(AliasConflict, match="nothing to roll back to"):
        registry.rollback("sst2")


def test_a_damaged_version_can_be_deleted(registry: Registry, url: str) -> None:
    """Deleting a damaged version deletes its bytes."""
    damage(url, 1)
    find_damage(registry, 1)
    registry.delete_version("sst2", 2)
    with pytest.raises(AdapterUnavailable, match="no longer"):
        registry.read_adapter(DIGESTS[1])


def test_damage_that_cannot_be_marked_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the database takes no writes, damage is still detected and logged, and the bytes are not served."""
    url = f"sqlite:///{tmp_path / 'registry.sqlite3'}"
    with closing(Registry.open(url)) as registry:
        registry.publish("sst2", check_upload(DATA[0]))
        damage(url, 0)
        with closing(sqlite3.connect(tmp_path / "registry.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with monkeypatch.context() as patch:
                patch.setattr("service.registry.deadline.CALL_TIMEOUT_S", 0.5)  # of the wait for that lock
                find_damage(registry, 0)
        assert "cannot be put into quarantine" in caplog.text
        assert not registry.snapshot().tasks["sst2"].versions[1].quarantined
        find_damage(registry, 0)
        assert registry.snapshot().tasks["sst2"].versions[1].quarantined


@pytest.mark.parametrize(
    "change",
    [
        "metadata_json = replace(metadata_json, 'negative', 'nagative')",
        "num_bytes = num_bytes + 1",
        "created_at = '2001-01-01 00:00:00.000000'",
        "row_sha256 = substr(row_sha256, 2) || substr(row_sha256, 1, 1)",
    ],
)
def test_a_damaged_row_is_left_out(registry: Registry, url: str, change: str, caplog: pytest.LogCaptureFixture) -> None:
    """A version whose row is damaged is left out until its file is published again, under its old number."""
    execute(url, f"UPDATE versions SET {change} WHERE version = 2")
    with closing(Registry.open(url)) as other:
        assert list(other.snapshot().tasks["sst2"].versions) == [1, 3]
        assert "version 2 of task sst2 is left out: its row is damaged" in caplog.text
        with pytest.raises(UnknownVersion):
            other.set_alias("sst2", "canary", 2)
        version, created, _ = other.publish("sst2", check_upload(DATA[1]))
        assert (version.version, created) == (2, False)
        assert other.snapshot().resolve("sst2") == version
        assert [row.action for row in other.audit(limit=2)] == ["set_alias", "repair_version"]
    with closing(Registry.open(url)) as fresh:
        assert fresh.snapshot().resolve("sst2") == version


def test_a_version_of_a_newer_release_is_left_out(
    registry: Registry, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A version that this release cannot read is logged and left out; others are served."""
    registry.publish("new", check_upload(DATA[0]), activate=False)
    registry.publish("new", check_upload(DATA[1]))
    found = registry.snapshot().tasks["new"].versions[2]
    newer = checkpoint.canonical_json(checkpoint.parse(DATA[1]).metadata).replace(
        '"format_version":2', '"format_version":3'
    )
    checksum = row_sha256("new", 2, found.digest, found.num_bytes, found.created_at.replace(tzinfo=None), newer)
    change = "UPDATE versions SET metadata_json = :text, row_sha256 = :checksum WHERE task = 'new' AND version = 2"
    execute(url, change, text=newer, checksum=checksum)
    with closing(Registry.open(url)) as fresh:
        snapshot = fresh.snapshot()
        assert [version.task for version in snapshot.live()] == ["sst2"]
        assert list(snapshot.tasks["new"].versions) == [1]
        with pytest.raises(UnknownVersion, match="no version 2"):
            snapshot.resolve("new")
        assert "version 2 of task new is left out: this release cannot read it" in caplog.text


def test_a_completely_damaged_task_is_repaired(registry: Registry, url: str) -> None:
    """If no version of a task can be read, publishing its file again brings the task and its alias back."""
    registry.publish("other", check_upload(DATA[0]))
    execute(url, "UPDATE versions SET num_bytes = 1 WHERE task = 'other'")
    with closing(Registry.open(url)) as fresh:
        with pytest.raises(UnknownTask):
            fresh.snapshot().resolve("other")
        fresh.publish("other", check_upload(DATA[0]))
        assert fresh.snapshot().resolve("other").version == 1
