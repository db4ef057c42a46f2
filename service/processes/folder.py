"""The private temporary folder of one server: sockets and files through which its processes meet."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "adakron-"
_LOCK = "lock"  # held by the server as long as it runs


@contextmanager
def server_folder() -> Iterator[Path]:
    """Yield a new folder that only this user can open, and remove it in the end.

    Folders that killed servers have left behind are removed, too.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with (folder / "starting").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / "starting").rename(folder / _LOCK)  # only now: a lock that is not held means an abandoned folder
            yield folder


def reserve(file: int, num_bytes: int) -> None:
    """Give an open file that size and its space: a write to a mapped file on a full disk would kill the process.

    Raises OSError if the disk has no space.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, num_bytes)
    else:
        os.ftruncate(file, num_bytes)


def _remove_abandoned(parent: Path) -> None:
    for lock in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        try:
            with lock.open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
        except OSError:  # its server runs, or it belongs to another user
            continue
