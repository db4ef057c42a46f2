"""The memory that this process and all that it starts may take together: its control group's, else the machine's."""

import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def memory_limit_bytes(cgroups: Path = _CGROUPS, own: Path = _OWN) -> int:
    """The least of what the machine has and what the control groups above this process allow.

    `own` lists the groups that the process is in, `cgroups` is where their files are; in a container these are its own.
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for file in _limit_files(cgroups, own):
        try:
            limits.append(int(file.read_text()))
        except (OSError, ValueError):  # no such group here; or "max", which is none
            continue
    return min(limits)


def _limit_files(cgroups: Path, own: Path) -> list[Path]:
    files = []
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:  # version 2
            root, name = cgroups, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = cgroups / "memory", "memory.limit_in_bytes"
        else:
            continue
        parts = Path(group.strip("/")).parts
        files += [root.joinpath(*parts[:depth], name) for depth in range(len(parts) + 1)]
    return files
