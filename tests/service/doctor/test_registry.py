"""`adakron doctor`: the registry and its versions; each check with and without a fault."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from adapters.backbone.source import LoadedBackbone
from service.doctor import registry as registry_checks
from service.doctor.core import Setup
from service.doctor.readonly import file_system, nearest_existing, read_only
from service.doctor.registry import registry, registry_write, sqlite_file
from service.doctor.versions import versions
from service.errors import InvalidInput
from service.publishing.checks import check_upload
from service.registry import Registry
from tests.support.databases import execute
from tests.support.doctors import make_setup, write
from tests.support.factories import make_adapter_bytes

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture
def published(url: str, tmp_path: Path, tiny: LoadedBackbone, tiny_folder: Path) -> Setup:
    """A registry with one version for the tiny backbone, SQLite and PostgreSQL in turn."""
    with closing(Registry.open(url)) as opened:
        opened.publish("sst2", check_upload(make_adapter_bytes(identity=tiny.identity)))
    return make_setup(tmp_path, registry_url=url, backbone=str(tiny_folder))


def test_registry(published: Setup) -> None:
    """A registry of this release can be reached and written, and its versions are intact and for this backbone."""
    assert registry(published).status == "ok"
    assert "revision 0003" in registry(published).message
    assert registry_write(published).status == "ok"
    assert versions(published).message == "1 versions"


def test_a_registry_before_the_first_start(tmp_path: Path) -> None:
    """A missing file is not created, and an empty one not filled."""
    setup = make_setup(tmp_path)
    for check in (registry, registry_write, sqlite_file, versions):
        assert check(setup).status == "ok", check
    assert not setup.settings.data_dir.exists()
    setup.settings.data_dir.mkdir()
    path = setup.settings.data_dir / "registry.sqlite3"
    path.touch()
    assert "is empty: the first start creates its tables" in registry(setup).message
    assert path.stat().st_size == 0


def test_an_empty_database(url: str, tmp_path: Path) -> None:
    """An empty database can be read, and has no versions yet."""
    if url.startswith("sqlite"):
        write(tmp_path, "data/registry.sqlite3", "")
    setup = make_setup(tmp_path, registry_url=url)
    assert "is empty: the first start creates its tables" in registry(setup).message
    assert versions(setup).message == "none yet"


@pytest.mark.parametrize(
    ("revision", "status", "says"),
    [("0002", "warning", "the next start migrates it to 0003"), ("9999", "failed", "written by a newer release")],
)
def test_a_registry_of_another_release(published: Setup, revision: str, status: str, says: str) -> None:
    """An older registry is a warning and is not migrated; a newer one fails."""
    url = published.settings.resolved_registry_url
    execute(url, "update alembic_version set version_num = :revision", revision=revision)
    found = registry(published)
    assert found.status == status
    assert says in found.message
    assert registry(published) == found


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "mysql://u:secret@h/d",
        "postgresql+psycopg://u:secret@127.0.0.1:9/none",
        "postgresql+psycopg://u@127.0.0.1:9/none?password=secret",
        "sqlite:///:memory:",
        "sqlite://",
    ],
)
def test_a_missing_registry(tmp_path: Path, url: str) -> None:
    """An unreachable database fails, and no message holds the password."""
    found = registry(make_setup(tmp_path, registry_url=url))
    assert found.status == "failed"
    assert "ADAKRON_REGISTRY_URL" in found.remedy
    assert "secret" not in found.message


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    """A file of another kind fails, and is left unchanged."""
    setup = make_setup(tmp_path)
    write(tmp_path, "data/registry.sqlite3", "no database at all" * 100)
    assert registry(setup).status == "failed"
    assert (tmp_path / "data/registry.sqlite3").read_text() == "no database at all" * 100


def test_a_registry_that_cannot_be_written(published: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or a database that cannot be written fails."""
    url = published.settings.resolved_registry_url
    if url.startswith("sqlite"):
        monkeypatch.setattr("os.access", lambda path, _: not str(path).endswith("sqlite3"))
        assert "cannot write" in registry_write(published).message
        monkeypatch.setattr("os.access", lambda path, _: str(path).endswith("sqlite3"))
        assert "keeps its journal" in registry_write(published).message
        return
    for state, says in (
        ("true, true, true", "read-only"),
        ("false, false, true", "may not write"),
        ("false, true, false", "migrations will fail"),
    ):
        monkeypatch.setattr(registry_checks, "_WRITABLE", f"select {state}")
        assert says in registry_write(published).message


def test_damaged_and_foreign_versions(published: Setup, tmp_path: Path) -> None:
    """Quarantine fails; a live version for another backbone fails, one that is not live is a warning."""
    url = published.settings.resolved_registry_url
    with closing(Registry.open(url)) as opened:
        opened.publish("old", check_upload(make_adapter_bytes(seed=1)), activate=False)
    assert (versions(published).status, versions(published).message) == (
        "warning",
        "trained for another backbone: old@1; 2 versions",
    )
    with closing(Registry.open(url)) as opened:
        opened.publish("new", check_upload(make_adapter_bytes(seed=2)))
    assert versions(published).status == "failed"
    assert "live, but trained for another backbone: new@1" in versions(published).message
    damaged = "digest in (select digest from versions where task = 'sst2')"
    execute(url, f"update blobs set quarantined_at = '2026-01-01' where {damaged}")
    assert "in quarantine because their bytes are damaged: sst2@1" in versions(published).message
    unknown = make_setup(tmp_path, registry_url=url)
    assert "not compared with the backbone" in versions(unknown).message


def test_versions_for_another_tokenizer(published: Setup, tiny: LoadedBackbone) -> None:
    """Versions for the same weights with another tokenizer.json are for another backbone, as at an upload."""
    identity = tiny.identity.model_copy(update={"tokenizer_sha256": "0" * 64})
    with closing(Registry.open(published.settings.resolved_registry_url)) as opened:
        opened.publish("new", check_upload(make_adapter_bytes(identity=identity)))
    assert versions(published).status == "failed"
    assert "live, but trained for another backbone: new@1" in versions(published).message


def test_sqlite_in_wal_mode(tmp_path: Path) -> None:
    """A write-ahead log is a warning; the check creates no file beside the database."""
    setup = make_setup(tmp_path)
    Registry.open(setup.settings.resolved_registry_url).close()
    assert sqlite_file(setup).status == "ok"
    path = setup.settings.data_dir / "registry.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma journal_mode=wal")
    before = sorted(setup.settings.data_dir.iterdir())
    assert "WAL mode" in sqlite_file(setup).message
    assert registry(setup).status == "ok"
    assert sorted(setup.settings.data_dir.iterdir()) == before


def test_sqlite_on_a_network(tmp_path: Path) -> None:
    """A network file system fails, since its locks are unreliable; PostgreSQL is not affected."""
    write(
        tmp_path, "proc/self/mountinfo", f"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 / {tmp_path} rw shared:1 - nfs4 b rw\n"
    )
    found = sqlite_file(make_setup(tmp_path))
    assert found.status == "failed"
    assert "network file system (nfs4)" in found.message
    assert sqlite_file(make_setup(tmp_path, registry_url="postgresql+psycopg://h/d")).message == "not SQLite"


def test_file_systems(tmp_path: Path) -> None:
    """The deepest mount counts, the last of those at the same place, also with spaces in names."""
    lines = (
        "1 0 0:1 / / rw - ext4 a rw",
        "2 1 0:2 / /data rw shared:1 - xfs b rw",
        "3 1 0:3 / /data rw - tmpfs c rw",
        r"4 1 0:4 / /a\040b rw - cifs d rw",
    )
    write(tmp_path, "proc/self/mountinfo", "\n".join(lines))
    for path, kind in (("/data/x", "tmpfs"), ("/database", "ext4"), ("/a b/c", "cifs"), ("/", "ext4")):
        assert file_system(Path(path), tmp_path) == kind, path
    assert file_system(Path("/"), tmp_path / "nowhere") == ""
    assert nearest_existing(tmp_path / "a" / "b") == tmp_path


def test_a_look_writes_nothing(published: Setup) -> None:
    """The connection of the checks refuses to write."""
    url = published.settings.resolved_registry_url
    with pytest.raises(Exception, match=r"read-?only"), read_only(url) as connection:
        connection.exec_driver_sql("delete from audit")
    with pytest.raises(InvalidInput), read_only("nonsense"):
        pass
