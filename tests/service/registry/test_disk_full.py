"""A full disk: the error says so, nothing is partly written, and small changes still have room."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from service.errors import RegistryUnavailable, StorageFull
from service.publishing.checks import check_upload
from service.registry import Registry
from service.registry.sqlite import RESERVE_BYTES
from tests.support.databases import execute, fresh_database
from tests.support.factories import make_adapter_bytes

DATA = make_adapter_bytes()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Registry]:
    with closing(Registry.open(f"sqlite:///{tmp_path / 'registry.sqlite3'}")) as registry:
        yield registry


def pretend_free(monkeypatch: pytest.MonkeyPatch, num_bytes: int) -> None:
    """Pretend that the disk has this much free space."""
    free = os.statvfs_result((1, 1, num_bytes, num_bytes, num_bytes, 9, 9, 9, 0, 255))
    monkeypatch.setattr("service.registry.sqlite.os.statvfs", lambda _: free)


def test_a_publication_leaves_a_reserve(sqlite: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite refuses a publication before the disk is full; smaller changes and publishing a stored file still work."""
    sqlite.publish("sst2", check_upload(DATA))
    pretend_free(monkeypatch, RESERVE_BYTES)
    with pytest.raises(StorageFull, match="no room for"):
        sqlite.publish("sst2", check_upload(make_adapter_bytes(seed=1)))
    assert list(sqlite.snapshot().tasks["sst2"].versions) == [1]
    assert not sqlite.publish("sst2", check_upload(DATA))[1]
    sqlite.set_alias("sst2", "canary", 1)
    key, _ = sqlite.create_key("a key", {"predict"})
    sqlite.revoke_key(key.id)


def test_a_deletion_makes_room_for_a_publication(sqlite: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Free pages inside the file count as room."""
    for seed in range(20):
        sqlite.publish("sst2", check_upload(make_adapter_bytes(seed=seed)), activate=False)
    pretend_free(monkeypatch, RESERVE_BYTES)
    with pytest.raises(StorageFull):
        sqlite.publish("sst2", check_upload(make_adapter_bytes(seed=20)))
    for number in range(1, 16):
        sqlite.delete_version("sst2", number)
    assert sqlite.publish("sst2", check_upload(make_adapter_bytes(seed=20)))[1]


def test_a_full_disk_on_sqlite(sqlite: Registry) -> None:
    """SQLite's own error for a database that may not grow becomes StorageFull, and the transaction is rolled back."""
    with sqlite._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1")  # SQLite keeps its present size as the limit
    with pytest.raises(StorageFull, match="full; nothing was stored"):
        sqlite.publish("sst2", check_upload(make_adapter_bytes(layers=range(2), p=64)))
    assert (sqlite.revision(), sqlite.audit()) == (0, [])


def test_an_unspecific_error_of_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If SQLite cannot open a file, the error is StorageFull only if nothing is free on the disk."""
    with closing(Registry.open(f"sqlite:///{tmp_path / 'registry.sqlite3'}")) as registry:
        (tmp_path / "registry.sqlite3-journal").mkdir()
        with pytest.raises(RegistryUnavailable):
            registry.publish("sst2", check_upload(DATA))
        pretend_free(monkeypatch, 0)
        with pytest.raises(StorageFull):
            registry.create_key("a key", {"predict"})


def test_a_full_disk_on_postgresql(tmp_path: Path) -> None:
    """PostgreSQL's error code for a full disk becomes StorageFull; the next call on the same connection works."""
    with fresh_database("postgresql", tmp_path) as url, closing(Registry.open(url)) as registry:
        execute(
            url,
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$",
        )
        execute(url, "CREATE TRIGGER full_disk BEFORE INSERT ON blobs EXECUTE FUNCTION full_disk()")
        with pytest.raises(StorageFull, match="could not extend file"):
            registry.publish("sst2", check_upload(DATA))
        assert (registry.revision(), registry.audit()) == (0, [])
        execute(url, "DROP TRIGGER full_disk ON blobs")
        assert registry.publish("sst2", check_upload(DATA))[1]
