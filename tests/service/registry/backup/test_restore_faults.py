"""Restoring with faults: damaged bytes and rows, concurrent changes, a full disk, and targets that are refused."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from service.errors import InvalidInput, RegistryUnavailable, ServiceError, StorageFull
from service.publishing.checks import check_upload
from service.registry import Registry
from service.registry.backup import export_registry
from tests.support.backups import contents, fill, restore_file
from tests.support.databases import DATABASES, execute, fresh_database
from tests.support.factories import make_adapter_bytes


@pytest.fixture
def path(registry: Registry, url: str, tmp_path: Path) -> Path:
    """A backup of `registry`."""
    export_registry(url, tmp_path / "backup.sqlite3")
    return tmp_path / "backup.sqlite3"


def test_two_restores_at_once(path: Path, tmp_path: Path, url: str) -> None:
    """Two restores at once run one after the other, and no row of the audit log is added twice."""
    before = contents(url)
    (tmp_path / "other").mkdir()
    for kind in DATABASES:
        with fresh_database(kind, tmp_path / "other") as other, ThreadPoolExecutor(2) as threads:
            summaries = list(threads.map(lambda _: restore_file(path, other), range(2)))
            assert abs(summaries[0].revision - summaries[1].revision) == 1
            after = contents(other)
            assert after["versions"] == before["versions"]
            log = [row for row in after["audit"] if row[2] != "restore"]
            assert sorted(log, key=str) == sorted(before["audit"], key=str)


def test_bytes_deleted_meanwhile_are_stored_again(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is published and deleted during a restore is stored again."""
    other = f"sqlite:///{tmp_path / 'other.sqlite3'}"
    with closing(Registry.open(other)) as fresh:

        def publish_and_delete(*_: object) -> None:
            fresh.publish("x", check_upload(make_adapter_bytes(seed=5)), activate=False)
            fresh.delete_version("x", 1)

        monkeypatch.setattr("service.registry.backup.restore.merge_audit", publish_and_delete)
        assert restore_file(path, other).quarantined == ()
        assert fresh.read_adapter(fresh.snapshot().resolve("rte@2").digest) == make_adapter_bytes(seed=5)


def test_damaged_in_the_backup_and_intact_in_the_registry(registry: Registry, url: str, tmp_path: Path) -> None:
    """Bytes that are damaged in the backup and intact in the registry are kept."""
    digest = registry.snapshot().resolve("sst2@1").digest
    path, data = tmp_path / "backup.sqlite3", registry.read_adapter(digest)
    execute(url, "UPDATE blobs SET data = :data WHERE digest = :digest", data=b"rotten", digest=digest)
    assert export_registry(url, path).damaged == ("rte@1", "sst2@1")
    assert restore_file(path, url).quarantined == ("rte@1", "sst2@1")
    assert registry.snapshot().resolve("sst2@1").quarantined
    execute(url, "UPDATE blobs SET data = :data WHERE digest = :digest", data=data, digest=digest)
    assert restore_file(path, url).quarantined == ()
    assert not registry.snapshot().resolve("sst2@1").quarantined
    assert registry.read_adapter(digest) == data


def test_damaged_in_the_registry_and_intact_in_the_backup(registry: Registry, url: str, path: Path) -> None:
    """Bytes and rows that are damaged in the registry are repaired from the backup, and servers see it."""
    before, digest = contents(url), registry.snapshot().resolve("sst2@1").digest
    execute(url, "UPDATE blobs SET data = :data WHERE digest = :digest", data=b"rotten", digest=digest)
    execute(url, "UPDATE versions SET metadata_json = '{}' WHERE task = 'mnli'")
    with pytest.raises(ServiceError, match="damaged"):
        registry.read_adapter(digest)
    assert registry.snapshot().resolve("rte@1").quarantined
    assert restore_file(path, url).quarantined == ()
    assert not registry.snapshot().resolve("rte@1").quarantined
    assert registry.read_adapter(digest)
    assert contents(url)["versions"] == before["versions"]


def test_a_failure_in_the_middle_changes_nothing(
    registry: Registry, url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error leaves everything that is published as it was, and no bytes behind."""
    registry.publish("new", check_upload(make_adapter_bytes(seed=20)))
    registry.delete_version("rte", 2)
    before = contents(url)
    monkeypatch.setattr("service.registry.backup.restore._merge_keys", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        restore_file(path, url)
    assert contents(url) == before


def test_a_full_disk_changes_nothing(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore keeps the reserve of disk space, and deletes what it had stored if the space does not suffice."""
    other = f"sqlite:///{tmp_path / 'other.sqlite3'}"
    Registry.open(other).close()
    before = contents(other)
    room = iter([2**30, 2**30, 0])
    monkeypatch.setattr("service.registry.sqlite.free_bytes", lambda _: next(room))
    with pytest.raises(StorageFull):
        restore_file(path, other)
    assert contents(other) == before


@pytest.mark.parametrize("table", ["audit SET at", "versions SET created_at", "keys SET created_at"])
def test_an_unreadable_registry_is_refused(table: str, tmp_path: Path) -> None:
    """An unreadable row in the registry is reported in one line, and nothing is changed."""
    url, path = f"sqlite:///{tmp_path / 'registry.sqlite3'}", tmp_path / "backup.sqlite3"
    fill(url)
    export_registry(url, path)
    execute(url, f"UPDATE {table} = 'never'")
    before = (tmp_path / "registry.sqlite3").read_bytes()
    with pytest.raises(RegistryUnavailable, match="cannot be read"):
        restore_file(path, url)
    assert (tmp_path / "registry.sqlite3").read_bytes() == before


def test_places_that_cannot_be_restored_into(path: Path) -> None:
    """The backup itself, a database that does not answer, and a URL of another kind are refused."""
    before = path.read_bytes()
    for place, error, says in (
        (f"sqlite:///{path}", InvalidInput, "is the registry itself"),
        ("postgresql://nobody@127.0.0.1:1/none", RegistryUnavailable, "cannot be used"),
        ("nonsense", InvalidInput, "URL cannot be read"),
    ):
        with pytest.raises(error, match=says):
            restore_file(path, place)
    assert path.read_bytes() == before
