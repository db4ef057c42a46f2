"""Limits of the system: a start that meets one ends with one line that names it and its remedy."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from service.processes.exhausted import explain, find_file_shortage


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE), "/data/registry"), "/data/registry: Too many open files: "),
        (BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)), "raise `ulimit -u`"),
        (RuntimeError("can't start new thread"), "can't start new thread: .* raise `ulimit -u`"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "memory is used up: raise"),
        (MemoryError(), "^memory is used up: raise"),
        (ImportError("libtorch.so: failed to map segment from shared object"), "^memory is used up: raise"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/x"), "/tmp/x: No space left on device: .* TMPDIR"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "/tmp/x"), "/tmp/x: Read-only .* TMPDIR"),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"), r"\['/tmp'\]: set TMPDIR"),
    ],
    ids=["files", "processes", "threads", "memory", "Python's memory", "library", "disk", "read-only", "no folder"],
)
def test_a_lack_is_named_with_its_remedy(error: BaseException, shown: str) -> None:
    """The line says where it happened, what is missing and what to raise."""
    with pytest.raises(AssertionError, match=shown):
        raise AssertionError(explain(error))


def test_other_errors_are_bugs() -> None:
    """They are not explained away: the log has their traceback."""
    for error in (
        OSError(errno.ENOENT, "No such file"),
        RuntimeError("other"),
        ImportError("no module"),
        KeyError("x"),
    ):
        assert explain(error) is None


def test_each_http_process_needs_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit that is asked for grows with their number, and no limit suffices for all."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (80, 80))
    assert find_file_shortage(2) is None
    assert "allows 80 open files; a server with 3 HTTP processes needs 88: raise" in str(find_file_shortage(3))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert find_file_shortage(1000) is None


def start(tmp_path: Path, limit: str) -> subprocess.CompletedProcess[str]:
    """Start a server under a limit of the shell, and wait for its end."""
    settings = {"ADAKRON_PORT": "0", "ADAKRON_HTTP_WORKERS": "3", "ADAKRON_DATA_DIR": str(tmp_path)}
    command = ["bash", "-c", f'{limit}; exec "$@"', "bash", sys.executable, "-m", "service", "serve"]
    return subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("number", [10, 16, 24, 32, 64])
def test_too_few_files_are_one_line(number: int, tmp_path: Path) -> None:
    """The server refuses to start at once, without a traceback."""
    ended = start(tmp_path, f"ulimit -n {number}")
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(f"error: `ulimit -n` allows {number} open files; a server with 3 HTTP processes needs 88")


def test_a_low_soft_limit_is_raised(tmp_path: Path) -> None:
    """The server takes what the system allows: here the start goes on, to a backbone that is missing."""
    missing = tmp_path / "missing"
    ended = start(tmp_path, f"ulimit -S -n 24; export ADAKRON_BACKBONE={missing}")
    assert ended.returncode == 2
    assert str(missing) in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="ulimit -v limits nothing elsewhere")
def test_too_little_memory_is_one_line(tmp_path: Path) -> None:
    """The engine process cannot map torch: the last line says so, and no traceback is shown."""
    ended = start(tmp_path, "ulimit -v 400000")
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "memory is used up: raise" in ended.stderr.splitlines()[-1]
