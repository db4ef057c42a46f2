"""`adakron doctor`: data folder, disk and admin key; each check with and without a fault."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from service.doctor.storage import admin_key, data_folder, disk
from tests.support.doctors import make_setup

pytestmark = pytest.mark.usefixtures("clean_environment")
KEY = "a-key-for-tests-only"


def test_data_folder(tmp_path: Path) -> None:
    """The folder exists or can be created; one that all users can write is a warning, a file in its place fails."""
    setup = make_setup(tmp_path)
    assert data_folder(setup).message.endswith("data is created at the first start")
    setup.settings.data_dir.mkdir(mode=0o700)
    assert data_folder(setup).message.endswith("(mode 0700)")
    setup.settings.data_dir.chmod(0o777)
    assert data_folder(setup).status == "warning"
    assert data_folder(setup).remedy == f"chmod o-w {setup.settings.data_dir}"
    (tmp_path / "file").touch()
    assert data_folder(make_setup(tmp_path, data_dir=tmp_path / "file" / "data")).status == "failed"


def test_a_data_folder_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be written fails, and the remedy names user and folder."""
    monkeypatch.setattr("os.access", lambda *_: False)
    found = data_folder(make_setup(tmp_path))
    assert found.status == "failed"
    assert found.remedy.startswith(f"chown {os.geteuid()} {tmp_path}")


@pytest.mark.parametrize(
    ("free_mib", "inodes", "status", "says"),
    [
        (10_000, 1000, "ok", "10,000 MiB free"),
        (200, 1000, "warning", "less than the uploads"),
        (0.5, 1000, "failed", "nothing can be published"),
        (10_000, 3, "failed", "3 inodes free"),
    ],
)
def test_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_mib: float, inodes: int, status: str, says: str
) -> None:
    """The free space is compared with the room that uploads may need."""
    sizes = SimpleNamespace(f_bavail=int(free_mib * 256), f_frsize=4096, f_files=5000, f_favail=inodes)
    monkeypatch.setattr("os.statvfs", lambda _: sizes)
    found = disk(make_setup(tmp_path))
    assert found.status == status
    assert says in found.message


def test_disk_is_that_of_the_registry(tmp_path: Path) -> None:
    """The disk of SQLite's file is checked; PostgreSQL's is not."""
    (tmp_path / "elsewhere").mkdir()
    elsewhere = f"sqlite:///{tmp_path}/elsewhere/registry.sqlite3"
    assert disk(make_setup(tmp_path, registry_url=elsewhere)).message.endswith(f"free at {tmp_path}/elsewhere")
    found = disk(make_setup(tmp_path, registry_url="postgresql+psycopg://h/d"))
    assert (found.status, found.message) == ("ok", "not checked: uploads go to the disk of the database")


def test_admin_key(tmp_path: Path) -> None:
    """A key is in the settings, will be created, or is in a private file; a readable, short or broken file fails."""
    assert admin_key(make_setup(tmp_path, admin_key=KEY)).message == "from ADAKRON_ADMIN_KEY"
    setup = make_setup(tmp_path)
    assert "is created at the first start" in admin_key(setup).message
    path = setup.settings.data_dir / "admin.key"
    path.parent.mkdir()
    path.write_text(KEY)
    path.chmod(0o600)
    assert admin_key(setup).status == "ok"
    path.chmod(0o640)
    assert (admin_key(setup).status, admin_key(setup).remedy) == ("failed", f"chmod 600 {path}")
    path.chmod(0o600)
    for broken, says in ((b"short", "it holds no key"), (b"\xff" * 20, "it cannot be read")):
        path.write_bytes(broken)
        assert admin_key(setup).status == "failed"
        assert says in admin_key(setup).message
    assert KEY not in repr(admin_key(setup))
