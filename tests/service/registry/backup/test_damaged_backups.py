"""Exporting a registry with damaged rows or bytes: everything intact is in the backup, and the damage is reported."""

from contextlib import closing
from pathlib import Path

import pytest

from service.errors import RegistryUnavailable
from service.publishing.checks import check_upload
from service.registry import Registry
from service.registry.backup import export_registry, verified_backup
from tests.support.backups import contents, fill, restore_file
from tests.support.databases import execute
from tests.support.factories import make_adapter_bytes


def test_damaged_bytes_do_not_stop_a_backup(url: str, path: Path, tmp_path: Path) -> None:
    """Each version of a damaged adapter is reported, and everything else is in the backup."""
    fill(url)
    with closing(Registry.open(url)) as registry:
        digest = registry.snapshot().resolve("sst2@1").digest
    execute(url, "UPDATE blobs SET data = :data WHERE digest = :digest", data=b"rotten", digest=digest)
    summary = export_registry(url, path)
    assert (summary.num_versions, summary.damaged) == (6, ("rte@1", "sst2@1"))
    other = f"sqlite:///{tmp_path / 'other.sqlite3'}"
    assert restore_file(path, other).quarantined == ("rte@1", "sst2@1")
    with closing(Registry.open(other)) as registry:
        versions = [*registry.snapshot().tasks["sst2"].versions.values()]
        assert [version.quarantined for version in versions] == [True, False, False]
        registry.publish("sst2", check_upload(make_adapter_bytes(seed=0)), activate=False)
        assert not registry.snapshot().resolve("rte@1").quarantined


def test_missing_bytes_do_not_stop_a_backup(path: Path, tmp_path: Path) -> None:
    """A version without bytes counts as damaged."""
    url = f"sqlite:///{tmp_path / 'registry.sqlite3'}"
    fill(url)
    execute(url, "DELETE FROM blobs WHERE digest = (SELECT digest FROM versions WHERE task = 'mnli')")
    assert export_registry(url, path).damaged == ("mnli@1",)
    with verified_backup(path) as backup:
        assert (len(backup.intact), len(backup.damaged)) == (4, 1)


def test_intact_bytes_leave_quarantine(url: str, path: Path) -> None:
    """The hash of the bytes decides about quarantine, not the earlier finding."""
    fill(url)
    execute(url, "UPDATE blobs SET quarantined_at = '2026-01-01 00:00:00'")
    assert export_registry(url, path).damaged == ()
    with verified_backup(path) as backup:
        assert backup.damaged == frozenset()


def test_a_damaged_row_is_repaired_from_its_file(url: str, path: Path, tmp_path: Path) -> None:
    """A damaged row of a version is rebuilt from its adapter file, and the version is reported."""
    fill(url)
    before = contents(url)
    execute(url, "UPDATE versions SET metadata_json = '{}', num_bytes = 1 WHERE task = 'mnli'")
    assert export_registry(url, path).damaged == ("mnli@1",)
    other = f"sqlite:///{tmp_path / 'other.sqlite3'}"
    restore_file(path, other)
    assert contents(other)["versions"] == before["versions"]


def test_a_damaged_row_of_damaged_bytes_stays_in_quarantine(url: str, path: Path, tmp_path: Path) -> None:
    """If row and bytes are both damaged, the version is restored, and publishing its file repairs both."""
    fill(url)
    before = contents(url)
    digest = "(SELECT digest FROM versions WHERE task = 'mnli')"
    execute(url, f"UPDATE blobs SET data = :data WHERE digest = {digest}", data=b"rotten")
    execute(url, "UPDATE versions SET metadata_json = '{}' WHERE task = 'mnli'")
    assert export_registry(url, path).damaged == ("mnli@1",)
    other = f"sqlite:///{tmp_path / 'other.sqlite3'}"
    assert restore_file(path, other).quarantined == ("mnli@1",)
    with closing(Registry.open(other)) as registry:
        registry.publish("mnli", check_upload(make_adapter_bytes(seed=1, labels=("yes", "ja", "sì"))))
        assert registry.snapshot().resolve("mnli").spec.labels == ("yes", "ja", "sì")
    assert contents(other)["versions"] == before["versions"]


def test_an_unreadable_row_is_refused(path: Path, tmp_path: Path) -> None:
    """An invalid time in a row ends the export with one line, and leaves no file."""
    url = f"sqlite:///{tmp_path / 'registry.sqlite3'}"
    fill(url)
    execute(url, "UPDATE versions SET created_at = 'never'")
    with pytest.raises(RegistryUnavailable, match="cannot be read"):
        export_registry(url, path)
    assert list(path.parent.iterdir()) == []
