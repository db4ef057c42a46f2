"""Restoring a backup: published versions return, beside running servers, and what must not go back does not."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from service.errors import InvalidInput, RegistryUnavailable, ServiceError, StorageFull
from service.publishing.checks import check_upload
from service.registry import Follower, Registry
from service.registry.backup import export_registry
from tests.support.backups import contents, fill, restore_file
from tests.support.databases import DATABASES, execute, fresh_database
from tests.support.factories import make_adapter_bytes


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    fill(url)
    with closing(Registry.open(url)) as registry:
        yield registry


@pytest.fixture
def path(registry: Registry, url: str, tmp_path: Path) -> Path:
    """A backup of `registry`."""
    export_registry(url, tmp_path / "backup.sqlite3")
    return tmp_path / "backup.sqlite3"


def test_changes_are_undone(registry: Registry, url: str, path: Path) -> None:
    """Versions, aliases and their history become those of the backup."""
    before = contents(url)
    registry.publish("sst2", check_upload(make_adapter_bytes(seed=20)))
    registry.delete_alias("sst2", "canary")
    registry.delete_version("rte", 2)
    registry.publish("new", check_upload(make_adapter_bytes(seed=21)))
    restore_file(path, url)
    after = contents(url)
    for table in ("versions", "aliases", "alias_history", "blobs", "keys"):
        assert after[table] == before[table], table
    assert registry.rollback("sst2").version.version == 2


async def test_servers_follow(registry: Registry, url: str, path: Path) -> None:
    """A follower in another process gets exactly the restored versions."""
    before = registry.snapshot()
    poll_s = 0.01 if url.startswith("sqlite") else 60  # PostgreSQL notifies its servers
    with closing(Registry.open(url)) as other:
        follower = Follower(other, poll_s)
        await follower.start()
        try:
            await asyncio.to_thread(registry.publish, "new", check_upload(make_adapter_bytes(seed=21)))
            await asyncio.to_thread(registry.publish, "sst2", check_upload(make_adapter_bytes(seed=22)))
            summary = await asyncio.to_thread(restore_file, path, url)
            async with asyncio.timeout(10):
                while follower.snapshot.revision != summary.revision:  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0.01)
            assert dict(follower.snapshot.tasks) == dict(before.tasks)
        finally:
            await follower.stop()


def test_the_revision_rises_above_both(registry: Registry, url: str, path: Path, tmp_path: Path) -> None:
    """A restore always sets a revision that no server has seen."""
    here = registry.revision()
    assert restore_file(path, url).revision == here + 1
    assert restore_file(path, url).revision == registry.revision() == here + 2
    assert restore_file(path, f"sqlite:///{tmp_path / 'other.sqlite3'}").revision == here + 1


def test_only_what_differs_is_touched(registry: Registry, url: str, path: Path) -> None:
    """Servers read again only the tasks that a restore changed; rows that are equal are not written."""
    before = registry.snapshot()
    registry.publish("rte", check_upload(make_adapter_bytes(seed=20)))
    registry.snapshot()
    restore_file(path, url)
    after = registry.snapshot()
    assert {name for name in before.tasks if after.tasks[name] is before.tasks[name]} == {"sst2", "mnli"}
    assert after.tasks == before.tasks


def test_no_number_is_given_again(registry: Registry, url: str, path: Path, tmp_path: Path) -> None:
    """Version numbers continue after the highest one ever used, in the registry or in the backup."""
    registry.publish("new", check_upload(make_adapter_bytes(seed=20)))
    registry.publish("rte", check_upload(make_adapter_bytes(seed=21)))
    restore_file(path, url)
    assert registry.publish("new", check_upload(make_adapter_bytes(seed=22)))[0].version == 2
    assert registry.publish("rte", check_upload(make_adapter_bytes(seed=22)))[0].version == 4
    other = f"sqlite:///{tmp_path / 'other.sqlite3'}"
    with closing(Registry.open(other)) as fresh:
        fresh.publish("gone", check_upload(make_adapter_bytes(seed=23)))
        restore_file(path, other)
        assert fresh.publish("gone", check_upload(make_adapter_bytes(seed=24)))[0].version == 2
        assert fresh.publish("sst2", check_upload(make_adapter_bytes(seed=25)))[0].version == 5


def test_keys_are_added_and_never_come_back(registry: Registry, url: str, path: Path, tmp_path: Path) -> None:
    """Keys revoked since the backup stay revoked, keys created since stay, and missing keys return as they were."""
    before = {key.name: key for key in registry.snapshot().keys.values()}
    assert (before["good"].revoked_at is None, before["bad"].revoked_at is None) == (True, False)
    registry.revoke_key(before["good"].id)
    registry.create_key("new", ["admin"])
    restore_file(path, url)
    after = {key.name: key for key in registry.snapshot().keys.values()}
    assert {name: key.revoked_at is None for name, key in after.items()} == {"good": False, "bad": False, "new": True}
    other = f"sqlite:///{tmp_path / 'other.sqlite3'}"
    with closing(Registry.open(other)) as fresh:
        execute(other, "UPDATE revision SET value = 100")
        assert fresh.snapshot().keys == {}
        restore_file(path, other)
        assert {key.name: key for key in fresh.snapshot().keys.values()} == before


def test_a_key_that_the_backup_knows_as_revoked_is_revoked(registry: Registry, url: str, path: Path) -> None:
    """A registry that lost a revocation gets it back, and its servers see it."""
    execute(url, "UPDATE keys SET revoked_at = NULL")
    with closing(Registry.open(url)) as other:
        assert all(key.revoked_at is None for key in other.snapshot().keys.values())
        restore_file(path, url)
        assert {key.name for key in other.snapshot().keys.values() if key.revoked_at} == {"bad"}


def test_the_audit_log_only_grows(registry: Registry, url: str, path: Path, tmp_path: Path) -> None:
    """Rows of the audit log stay, missing rows return once, and each restore adds a row that describes it."""
    past = contents(url)["audit"]
    registry.publish("new", check_upload(make_adapter_bytes(seed=20)), actor="bob")
    for expected in (3, 4):
        restore_file(path, url)
        rows = contents(url)["audit"]
        assert rows[: len(past)] == past
        assert len(rows) == len(past) + expected
    last = registry.audit(1)[0]
    assert (last.action, last.actor, last.task) == ("restore", "local", None)
    assert re.fullmatch(r"backup [0-9a-f]{64}, of revision 20, last change 20.*: 6 versions replaced by 6", last.detail)
    execute(url, "DELETE FROM audit WHERE actor = 'ann'")
    restore_file(path, url)
    after = contents(url)["audit"]
    assert Counter(after[:-1]) == Counter(rows)


def test_rows_of_the_log_that_say_the_same_are_counted(registry: Registry, url: str, tmp_path: Path) -> None:
    """Two equal rows of the audit log stay two rows, however often they are restored."""
    columns = "at, actor, action, task, version, alias, detail, source"
    execute(url, f"INSERT INTO audit ({columns}) SELECT {columns} FROM audit WHERE action = 'rollback'")
    path = tmp_path / "backup.sqlite3"
    export_registry(url, path)
    for statement in ("UPDATE audit SET actor = 'x' WHERE 1 = 0", "DELETE FROM audit WHERE action = 'rollback'"):
        execute(url, statement)
        restore_file(path, url)
        assert [row.action for row in registry.audit(1000)].count("rollback") == 2


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


def test_the_adapters_from_before_stay_for_a_while(
    registry: Registry, url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For `grace_s`, servers that have not followed yet can load the old adapters; then these are deleted."""
    version = registry.publish("new", check_upload(make_adapter_bytes(seed=20))).version
    slept: list[float] = []

    def look(seconds: float) -> None:
        slept.append(seconds)
        if seconds == 7:
            assert "new" not in registry.snapshot().tasks
            assert registry.read_adapter(version.digest)

    monkeypatch.setattr("service.registry.backup.restore.time.sleep", look)
    restore_file(path, url, grace_s=7)
    assert 7 in slept
    with pytest.raises(ServiceError, match="no longer in the registry"):
        registry.read_adapter(version.digest)


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
