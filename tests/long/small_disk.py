"""A small file system that a test can fill completely."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """Mount a tmpfs of that size; skip the test if that is not possible."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a tmpfs")
    with tempfile.TemporaryDirectory(prefix="adakron-disk-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", name], capture_output=True, check=False
        )
        if mounted.returncode != 0:
            pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.decode().strip()}")
        try:
            yield folder
        finally:
            subprocess.run(["umount", name], check=True)


@contextmanager
def filled(folder: Path, leave_bytes: int = 0) -> Iterator[None]:
    """Fill the disk up to `leave_bytes` while the context is open."""
    disk, ballast = os.statvfs(folder), folder / "ballast"
    with ballast.open("wb") as file:
        if (size := disk.f_bavail * disk.f_frsize - leave_bytes) > 0:
            os.posix_fallocate(file.fileno(), 0, size)
    try:
        yield
    finally:
        ballast.unlink()
