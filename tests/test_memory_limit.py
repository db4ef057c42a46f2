"""The limit of the control groups."""

import os
from pathlib import Path

import pytest

from service.memory_limit import memory_limit_bytes

MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


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
    """Of both versions of control groups, with what they say where there is no limit."""
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert memory_limit_bytes(tmp_path, tmp_path / "own") == limit


def test_without_control_groups_it_is_the_machine(tmp_path: Path) -> None:
    """Where the files are not there at all."""
    assert memory_limit_bytes(tmp_path, tmp_path / "none") == MACHINE
