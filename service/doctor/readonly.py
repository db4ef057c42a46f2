"""Access to a registry and its disk that creates, changes and migrates nothing."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import sqlalchemy
from sqlalchemy import Connection
from sqlalchemy.pool import NullPool

from service.registry.database import create_engine, parse_url, reading
from service.registry.deadline import CALL_TIMEOUT_S
from service.registry.sqlite import file_of

_FUSE = ("sshfs", "glusterfs", "ceph", "s3fs", "gcsfuse", "rclone", "blobfuse2")
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "ocfs2", "gfs2"}
).union(f"fuse.{name}" for name in _FUSE)
_WAL = b"\x02\x02"  # bytes 18 and 19 of a file with a write-ahead log


def sqlite_path(url: str) -> Path | None:
    """Return the file of a SQLite registry; None for PostgreSQL. Raises InvalidInput for an unusable URL."""
    parsed = parse_url(url)
    return file_of(parsed).absolute() if parsed.get_backend_name() == "sqlite" else None


def in_wal_mode(path: Path) -> bool:
    """Read from the header whether the file is in WAL mode; asking SQLite could create files beside it."""
    with path.open("rb") as file:
        return file.read(20)[18:] == _WAL


@contextmanager
def read_only(url: str) -> Iterator[Connection]:
    """Open a read transaction. Raises RegistryUnavailable, or InvalidInput for an unusable URL."""
    path = sqlite_path(url)
    engine = create_engine(url) if path is None else _open_file(path)
    try:
        with reading(engine) as connection:
            yield connection
    finally:
        engine.dispose()


def _open_file(path: Path) -> sqlalchemy.Engine:
    immutable = "&immutable=1" if in_wal_mode(path) else ""  # otherwise SQLite creates the files of the log
    address = f"file:{quote(str(path))}?mode=ro{immutable}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(address, uri=True, timeout=CALL_TIMEOUT_S, check_same_thread=False)

    return sqlalchemy.create_engine("sqlite://", creator=connect, poolclass=NullPool)


def file_system(path: Path, root: Path) -> str:
    """Return the type of the file system of `path`, such as ext4 or nfs4; empty if unknown. `root` contains proc."""
    try:
        lines = (root / "proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return ""
    path, best, found = path.resolve(), -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        mount = Path(before.split(" ")[4].encode().decode("unicode_escape"))  # a space is written \040
        if path.is_relative_to(mount) and len(mount.parts) >= best:  # a later mount covers an earlier one
            best, found = len(mount.parts), after.split(" ")[0]
    return found


def nearest_existing(path: Path) -> Path:
    """Return `path`, or the closest folder above it that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
