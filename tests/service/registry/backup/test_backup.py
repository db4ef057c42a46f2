"""Exporting a registry: the file holds one moment completely, or does not exist, and the export blocks no writer."""

import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from service.errors import InvalidInput, RegistryUnavailable, StorageFull
from service.publishing.checks import check_upload
from service.registry import Registry
from service.registry.backup import export_registry, verified_backup
from service.registry.backup.file import BackupWriter
from tests.support.backups import contents, fill, restore_file
from tests.support.databases import DATABASES, execute, fresh_database
from tests.support.factories import make_adapter_bytes
from tests.support.paths import ROOT


@pytest.mark.parametrize("target", DATABASES)
def test_round_trip(url: str, target: str, path: Path, tmp_path: Path) -> None:
    """A backup of either database restores into either: every row and every byte is there again."""
    fill(url)
    summary = export_registry(url, path)
    assert (summary.num_tasks, summary.num_versions, summary.damaged) == (3, 6, ())
    assert summary.num_bytes == path.stat().st_size
    (tmp_path / "other").mkdir()
    with fresh_database(target, tmp_path / "other") as other:
        restored = restore_file(path, other)
        assert (len(restored.published), restored.quarantined) == (6, ())
        before, after = contents(url), dict(contents(other))
        *after["audit"], last = after["audit"]
        assert after == before
        assert last[2] == "restore"
        with closing(Registry.open(other)) as registry:
            for version in registry.snapshot().live():
                assert registry.read_adapter(version.digest)


def test_a_backup_is_one_private_file(url: str, path: Path) -> None:
    """The file has the same tables and mode 0600, and no other file is left beside it."""
    fill(url)
    export_registry(url, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    copy = path.with_name("copy.sqlite3")
    copy.write_bytes(path.read_bytes())
    assert contents(f"sqlite:///{copy}") == contents(url)


def test_an_existing_file_is_kept_unless_replaced(url: str, path: Path) -> None:
    """Without `replace` an existing file stays as it is; with it, it becomes the backup."""
    fill(url)
    path.write_text("precious")
    with pytest.raises(InvalidInput, match="exists: name another"):
        export_registry(url, path)
    assert path.read_text() == "precious"
    export_registry(url, path, replace=True)
    with verified_backup(path):
        assert list(path.parent.iterdir()) == [path]


def test_a_file_created_meanwhile_is_kept(url: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is created at the path during the export is not overwritten."""
    fill(url)
    after_each_adapter(monkeypatch, lambda: path.write_text("precious"))
    with pytest.raises(InvalidInput, match="exists: name another"):
        export_registry(url, path)
    assert path.read_text() == "precious"
    assert list(path.parent.iterdir()) == [path]


def test_places_where_no_backup_can_be(url: str, path: Path) -> None:
    """A folder, or a file in a missing folder, is refused."""
    fill(url)
    for place, says in (
        (path.parent, "is a folder"),
        (path.parent / "none" / "x", "No such file"),
        (path.parent / ("x" * 300), "name too long"),
    ):
        with pytest.raises(InvalidInput, match=says):
            export_registry(url, place, replace=True)
    assert list(path.parent.iterdir()) == []


def test_the_registry_itself_is_never_the_target(path: Path, tmp_path: Path) -> None:
    """Even with `replace` an export never overwrites the registry's own file."""
    url = f"sqlite:///{tmp_path / 'registry.sqlite3'}"
    fill(url)
    before = contents(url)
    path.symlink_to(tmp_path / "registry.sqlite3")
    for place in (path, tmp_path / "registry.sqlite3"):
        with pytest.raises(InvalidInput, match="is the registry itself"):
            export_registry(url, place, replace=True)
    assert contents(url) == before


def test_a_missing_registry_cannot_be_exported(url: str, path: Path, tmp_path: Path) -> None:
    """If there is no registry, none is created and the error says so."""
    missing = tmp_path / "none" / "registry.sqlite3"
    for place, error, says in (
        (url, InvalidInput, "there is no registry"),
        (f"sqlite:///{missing}", InvalidInput, "there is no registry"),
        (f"sqlite:///{tmp_path / ('x' * 300)}", InvalidInput, "name too long"),
        ("nonsense", InvalidInput, "URL cannot be read"),
        ("postgresql://nobody@127.0.0.1:1/none", RegistryUnavailable, "cannot be used"),
    ):
        with pytest.raises(error, match=says):
            export_registry(place, path)
    assert not missing.parent.exists()
    assert list(path.parent.iterdir()) == []


def test_a_registry_of_another_release_is_left_to_that_one(url: str, path: Path) -> None:
    """An export does not migrate a registry that servers of another release use; it is refused."""
    fill(url)
    for version, says in (("0001", "older than this release"), ("9999", "newer than this release")):
        execute(url, f"UPDATE alembic_version SET version_num = '{version}'")
        with pytest.raises(InvalidInput, match=says):
            export_registry(url, path)


def test_bytes_without_a_version_are_left_out(url: str, path: Path) -> None:
    """The backup has only bytes that a version refers to, even if versions are deleted during the export."""
    fill(url)
    execute(url, "INSERT INTO blobs (digest, data) VALUES (:digest, :data)", digest="0" * 64, data=b"orphan")
    with closing(Registry.open(url)) as registry:
        deletions = [lambda: registry.delete_version("rte", 1), lambda: registry.delete_version("rte", 2)]
        with pytest.MonkeyPatch.context() as patch:
            after_each_adapter(patch, lambda: deletions.pop()() if deletions else None)
            export_registry(url, path)
    with closing(sqlite3.connect(path)) as connection:
        digests = {digest for (digest,) in connection.execute("SELECT digest FROM blobs")}
        assert digests == {digest for (digest,) in connection.execute("SELECT digest FROM versions")}
    with verified_backup(path) as backup:
        assert backup.intact == digests


def test_writers_are_not_blocked(url: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions published while adapters are copied are in the backup."""
    fill(url)
    seeds = iter(range(100, 106))
    with closing(Registry.open(url)) as registry:
        after_each_adapter(
            monkeypatch,
            lambda: [
                registry.publish("new", check_upload(make_adapter_bytes(seed=seed))) for seed in [next(seeds, 100)]
            ],
        )
        export_registry(url, path)
        monkeypatch.undo()
        assert contents(f"sqlite:///{as_registry(path)}") == contents(url)


def after_each_adapter(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Call `act` after each copied adapter, when no read transaction is open."""
    insert = BackupWriter.insert

    def insert_and_act(self: BackupWriter, table: Any, rows: Any) -> None:
        insert(self, table, rows)
        if table.name == "blobs":
            act()

    monkeypatch.setattr(BackupWriter, "insert", insert_and_act)


def as_registry(path: Path) -> Path:
    """Copy the backup to a name that can stand in a URL."""
    other = path.with_name("registry.sqlite3")
    other.write_bytes(path.read_bytes())
    return other


@pytest.mark.parametrize("num_pages", [10, 25])
def test_a_full_disk_leaves_no_file(num_pages: int, url: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the disk has no room for the tables or the rows, no file is left."""
    fill(url)
    monkeypatch.setattr("service.registry.backup.file.WRITING", (f"max_page_count={num_pages}",))
    with pytest.raises(StorageFull, match="no space is left for"):
        export_registry(url, path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("moment", ["hashlib.sha256", "pathlib.Path.replace"])
def test_a_killed_backup_leaves_no_backup(moment: str, path: Path, tmp_path: Path) -> None:
    """An export killed halfway, or just before the rename, leaves the file at the path untouched."""
    url = f"sqlite:///{tmp_path / 'registry.sqlite3'}"
    fill(url)
    path.write_text("the one from yesterday")
    module = moment.partition(".")[0]
    program = (
        f"import {module}, os, pathlib, service.registry.backup as b\n"
        f"{moment} = lambda *a: os.kill(os.getpid(), 9)\n"
        f"b.export_registry({url!r}, pathlib.Path({str(path)!r}), replace=True)"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)
    assert result.returncode == -signal.SIGKILL
    assert path.read_text() == "the one from yesterday"
    assert all(item == path or item.suffix == ".part" for item in path.parent.iterdir())
    export_registry(url, path, replace=True)
    with verified_backup(path) as backup:
        assert len(backup.intact) == 5
