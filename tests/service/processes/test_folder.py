"""server_folder: private, removed in the end, and those of killed servers removed by the next one."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from service.processes.folder import server_folder
from tests.support.paths import ROOT

PROGRAM = """
import signal
import time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it runs in the background
from service.processes.folder import server_folder
with server_folder() as folder:
    (folder / "engine").write_text("a socket")
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files of this test."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


def start() -> tuple[subprocess.Popen[str], Path]:
    """Start a process with a folder of its own."""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def end(process: subprocess.Popen[str], number: signal.Signals) -> None:
    process.send_signal(number)
    process.communicate(timeout=20)


def test_it_is_private_and_removed(temporary: Path) -> None:
    """Only this user may enter it; it is gone afterwards, even after an error and with files in it."""
    with server_folder() as folder:
        assert folder.parent == temporary
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "file").touch()
    assert list(temporary.iterdir()) == []
    with pytest.raises(ZeroDivisionError), server_folder() as folder:
        raise ZeroDivisionError
    assert list(temporary.iterdir()) == []


def test_folders_of_killed_servers_are_removed(temporary: Path) -> None:
    """The next server removes them; folders of servers that run, and foreign ones, stay."""
    (temporary / "adakron-notes").mkdir()
    (temporary / "other").mkdir()
    killed, left = start()
    running, kept = start()
    assert left.parent == kept.parent == temporary
    end(killed, signal.SIGKILL)
    assert (left / "engine").exists()
    with server_folder() as own:
        assert not left.exists()
        assert (kept / "engine").exists()
        assert sorted(temporary.iterdir()) == sorted([own, kept, temporary / "adakron-notes", temporary / "other"])
    assert kept.exists()
    end(running, signal.SIGINT)
    assert not kept.exists()


def test_a_folder_that_is_being_made_is_not_abandoned(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another server that starts at any moment of the start leaves the folder alone: its lock is held when it shows."""
    import fcntl

    flock, found = fcntl.flock, []

    def start_another(file: object, operation: int) -> None:
        if operation == fcntl.LOCK_EX and not found:
            found.append(True)
            with server_folder():  # in the moment before the lock is held
                pass
        flock(file, operation)  # type: ignore[arg-type]

    monkeypatch.setattr("service.processes.folder.fcntl.flock", start_another)
    with server_folder() as folder:
        assert found
        assert folder.is_dir()


@pytest.mark.skipif(os.getuid() == 0, reason="root may open every file")
def test_folders_of_other_users_are_left_alone(temporary: Path) -> None:
    """A lock that may not be opened is passed over."""
    other = temporary / "adakron-other"
    other.mkdir()
    (other / "lock").touch(mode=0o000)
    with server_folder():
        assert other.exists()
