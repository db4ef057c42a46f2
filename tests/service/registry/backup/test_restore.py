"""Restoring a backup: published versions return beside running servers; revoked keys and used numbers do not."""

import asyncio
import re
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from service.errors import ServiceError
from service.publishing.checks import check_upload
from service.registry import Follower, Registry
from service.registry.backup import export_registry
from tests.support.backups import contents, restore_file
from tests.support.databases import execute
from tests.support.factories import make_adapter_bytes


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
