"""The limits of the control groups."""

import os
from pathlib import Path

import pytest
import torch

from service.engine.worker import engine_threads
from service.processes.cgroups import Limits, memory_limit_bytes, read_limits, usable_cpus
from service.settings import Settings
from service.train.prepare import limit_threads

GIB = 2**30
MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def write(root: Path, name: str, text: str) -> None:
    """A file below `root`."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def test_limits_of_version_2(tmp_path: Path) -> None:
    """The tightest limit of the group and of those around it counts."""
    write(tmp_path, "proc/self/cgroup", "0::/slice/service\n")
    write(tmp_path, "sys/fs/cgroup/slice/service/cpu.max", "400000 100000\n")
    write(tmp_path, "sys/fs/cgroup/slice/cpu.max", "200000 100000\n")
    write(tmp_path, "sys/fs/cgroup/slice/service/memory.max", f"{GIB}\n")
    write(tmp_path, "sys/fs/cgroup/slice/memory.max", "max\n")
    assert read_limits(tmp_path) == Limits(2.0, GIB)


def test_limits_of_version_1(tmp_path: Path) -> None:
    """Each controller has a tree of its own, and a number beyond all memory is no limit."""
    write(tmp_path, "proc/self/cgroup", "9:name=systemd:/\n4:memory:/docker/a\n3:cpu,cpuacct:/docker/a\n")
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/docker/a/cpu.cfs_quota_us", "150000\n")
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/docker/a/cpu.cfs_period_us", "100000\n")
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n")
    write(tmp_path, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    write(tmp_path, "sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes", f"{2 * GIB}\n")
    write(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    assert read_limits(tmp_path) == Limits(1.5, 2 * GIB)
    assert read_limits(tmp_path / "nowhere") == Limits(None, None)


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/\n", {"memory.max": "1000\n"}, 1000),
        ("0::/\n", {"memory.max": "max\n"}, MACHINE),
        ("0::/a/b\n", {"a/b/memory.max": "3000", "a/memory.max": "2000"}, 2000),
        ("0::/a\n", {}, MACHINE),
        ("4:memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": "500"}, 500),
        ("4:cpu,memory:/elsewhere\n", {"memory/memory.limit_in_bytes": "600"}, 600),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712"}, MACHINE),
        ("2:cpuacct:/a\n", {"memory/a/memory.limit_in_bytes": "1"}, MACHINE),
    ],
)
def test_the_least_limit_above_the_process_counts(tmp_path: Path, own: str, files: dict[str, str], limit: int) -> None:
    """Files of both versions of control groups, with their text for no limit."""
    write(tmp_path, "proc/self/cgroup", own)
    for name, text in files.items():
        write(tmp_path, f"sys/fs/cgroup/{name}", text)
    assert memory_limit_bytes(tmp_path) == limit


def test_without_control_groups_it_is_the_machine(tmp_path: Path) -> None:
    """The files are missing."""
    assert memory_limit_bytes(tmp_path) == MACHINE


@pytest.mark.parametrize(
    ("own", "file", "text", "num_cpus"),
    [
        ("0::/\n", "cpu.max", "200000 100000\n", 2),
        ("0::/\n", "cpu.max", "150000 100000\n", 1),
        ("0::/\n", "cpu.max", "20000 100000\n", 1),
        ("0::/\n", "cpu.max", "900000 100000\n", 4),
        ("0::/\n", "cpu.max", "max 100000\n", 4),
        ("3:cpu,cpuacct:/docker/a\n", "cpu/cpu.cfs_quota_us", "300000\n", 3),
        ("3:cpu,cpuacct:/docker/a\n", "cpu/cpu.cfs_quota_us", "-1\n", 4),
    ],
)
def test_threads_fit_the_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, file: str, text: str, num_cpus: int
) -> None:
    """On four cores: as many as whole CPUs of the quota, one at least, and never more than the affinity allows."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    write(tmp_path, "proc/self/cgroup", own)
    write(tmp_path, f"sys/fs/cgroup/{file}", text)
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert usable_cpus(tmp_path) == num_cpus


def test_without_an_affinity_all_cores_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS has neither affinity nor control groups."""
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert usable_cpus(tmp_path) == 8
    assert engine_threads(Settings()) == usable_cpus()


@pytest.mark.usefixtures("one_thread")
def test_engine_and_training_respect_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both take no more threads than the quota has CPUs; what the operator has chosen stays."""
    monkeypatch.setattr("service.engine.worker.usable_cpus", lambda: 2)
    assert engine_threads(Settings()) == 2
    assert engine_threads(Settings(engine_threads=5)) == 5
    monkeypatch.setattr("service.train.prepare.usable_cpus", lambda: 2)
    torch.set_num_threads(4)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    limit_threads()
    assert torch.get_num_threads() == 4
    monkeypatch.delenv("OMP_NUM_THREADS")
    limit_threads()
    assert torch.get_num_threads() == 2
