"""Which file system a path is on."""

from pathlib import Path

_BY_FUSE = ("sshfs", "glusterfs", "ceph", "s3fs", "gcsfuse", "rclone", "blobfuse2")
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "ocfs2", "gfs2"}
).union(f"fuse.{name}" for name in _BY_FUSE)


def file_system(path: Path, root: Path) -> str:
    """Its type, such as ext4 or nfs4; empty where it cannot be told. `root` is where proc is."""
    try:
        lines = (root / "proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return ""
    path, best, found = path.resolve(), -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        mount = Path(before.split(" ")[4].encode().decode("unicode_escape"))  # a space is written \040
        if path.is_relative_to(mount) and len(mount.parts) >= best:  # a later one lies over an earlier one
            best, found = len(mount.parts), after.split(" ")[0]
    return found


def nearest_existing(path: Path) -> Path:
    """`path`, or the closest folder above it that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
