"""The limits of this process's control group, in versions 1 and 2: those of a container."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NO_LIMIT = 2**60  # version 1 writes about 2^63 if there is no limit


@dataclass(frozen=True)
class Limits:
    """None: no limit."""

    cpus: float | None
    memory_bytes: int | None


def memory_limit_bytes(root: Path = Path("/")) -> int:
    """Return the memory limit of this process and its children: the lowest of their groups, else the machine's."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(machine, read_limits(root).memory_bytes or machine)


def usable_cpus(root: Path = Path("/")) -> int:
    """Return the number of threads that can compute at once: usable cores, or whole cores of the CPU quota."""
    quota = read_limits(root).cpus
    return num_cores() if quota is None else max(1, min(num_cores(), math.floor(quota)))


def num_cores() -> int:
    """Return the number of cores that this process may use; without an affinity (macOS) all of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_limits(root: Path) -> Limits:
    """Return the tightest limits of the group and its parents; `root` has proc and sys."""
    cpus = [*_quotas(root), *_old_quotas(root)]
    memory = [
        int(value)
        for folder in _folders(root, "memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        if (value := _read(folder / name)).isdigit() and int(value) < NO_LIMIT
    ]
    return Limits(min(cpus, default=None), min(memory, default=None))


def _quotas(root: Path) -> Iterator[float]:
    for folder in _folders(root, "cpu"):
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            yield int(quota) / int(period)


def _old_quotas(root: Path) -> Iterator[float]:
    for folder in _folders(root, "cpu"):
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):
            yield int(quota) / int(period)


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the group and of its parents."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        for name in {controllers, controller} if controllers else {""}:  # of several one is a link to the other
            top = root / "sys/fs/cgroup" / name
            group = top / path.strip("/")
            yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
