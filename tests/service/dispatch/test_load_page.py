"""LoadPage: what one process publishes and others read, without a lock."""

import mmap
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.dispatch.load_page import MAX_TASKS, SIZE, Load, LoadPage
from service.scheduling.admission import AdmissionState
from tests.support.paths import ROOT

HAMMER_S = 2.0
WRITER = """
import sys, time
from pathlib import Path
from service.dispatch.load_page import LoadPage
from tests.service.dispatch.test_load_page import numbered
page = LoadPage.create(Path(sys.argv[1]))
number = 0
while not Path(sys.argv[2]).exists():
    number += 1
    page.write(numbered(number))
print(number)
"""
READER = """
import sys, time
from pathlib import Path
from service.dispatch.load_page import LoadPage
from tests.service.dispatch.test_load_page import read_for
print(*read_for(LoadPage.attach(Path(sys.argv[1])), float(sys.argv[2])))
"""


def numbered(number: int) -> Load:
    """Return a load in which every number follows from `number`; its size varies."""
    held = {f"task-{index}": (1.0, number, number) for index in range(number % 97)}
    return Load(AdmissionState(False, number, 2 * number, float(number), number, held), {7: number, 2**62: number + 1})


def read_for(page: LoadPage, seconds: float) -> tuple[int, int]:
    """Read all the time; fail if a load is torn, or older than one before. Return the loads seen and the last one."""
    last, seen, until = 0, 0, time.monotonic() + seconds  # the imports of this process are done
    while time.monotonic() < until:
        load = page.read()
        if load is None:
            continue
        number = load.admission.num_requests
        assert load == numbered(number)
        assert number >= last
        seen += number > last
        last = number
    return seen, last


@contextmanager
def program(text: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a program of its own."""
    command = [sys.executable, "-c", text, *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_readers_in_other_processes(tmp_path: Path) -> None:
    """While a process writes as fast as it can, three processes read: no load is torn, and none goes back in time."""
    path, stop = tmp_path / "load", tmp_path / "stop"
    with program(WRITER, path, stop) as writer:
        while not path.exists():
            assert writer.poll() is None
            time.sleep(0.01)
        with program(READER, path, HAMMER_S) as first, program(READER, path, HAMMER_S) as second:
            seen = [read_for(LoadPage.attach(path), HAMMER_S)]
            for reader in (first, second):
                output, _ = reader.communicate(timeout=60)
                assert reader.returncode == 0
                seen.append(tuple(map(int, output.split())))  # type: ignore[arg-type]
        stop.touch()
        output, _ = writer.communicate(timeout=60)
    assert all(num_states > 10 for num_states, _ in seen), seen
    assert LoadPage.attach(path).read() == numbered(int(output))


def contents(path: Path, *loads: Load) -> list[bytes]:
    """Write the loads to a new page, and return its bytes after each."""
    page, found = LoadPage.create(path), []
    for load in loads:
        page.write(load)
        found.append(path.read_bytes())
    page.close()
    return found


@pytest.mark.parametrize("order", ["in order", "backwards", "at random"])
def test_an_unfinished_write_is_never_read(tmp_path: Path, order: str) -> None:
    """Whichever bytes of a write are visible, in whatever order: a reader has the load before or the one after."""
    loads = numbered(95), numbered(1040)
    before, after = contents(tmp_path / "written", *loads)
    changed = [place for place in range(SIZE) if before[place] != after[place]]
    path = tmp_path / "torn"
    path.write_bytes(before)
    if order == "at random":
        random.Random(0).shuffle(changed)
    elif order == "backwards":
        changed.reverse()
    with path.open("r+b") as file, mmap.mmap(file.fileno(), SIZE) as memory:
        known = LoadPage.attach(path)
        assert known.read() == loads[0]
        for place in changed[:-1]:
            memory[place] = after[place]
            assert known.read() in loads
            assert LoadPage.attach(path).read() in (None, *loads)
        memory[changed[-1]] = after[changed[-1]]
        assert known.read() == LoadPage.attach(path).read() == loads[1]


def test_a_load_that_has_not_changed_is_the_same_object(tmp_path: Path) -> None:
    """Readers compare it by identity."""
    page = LoadPage.create(tmp_path / "load")
    reader = LoadPage.attach(tmp_path / "load")
    assert reader.read() is None
    page.write(numbered(3))
    first = reader.read()
    assert first is not None
    assert reader.read() is first
    page.write(numbered(3))
    second = reader.read()
    assert second == first
    assert second is not first


def test_too_many_tasks(tmp_path: Path) -> None:
    """The tasks with the most tokens are shown; if even those do not fit, none is. The sums and openings always are."""
    page = LoadPage.create(tmp_path / "load")
    reader = LoadPage.attach(tmp_path / "load")
    held = {f"{number:063}": (1.0, 2, number) for number in range(MAX_TASKS + 500)}
    page.write(Load(AdmissionState(False, 5000, 10**6, 100.0, 256, held), {7: 9}))
    load = reader.read()
    assert load is not None
    assert (load.admission.num_requests, load.admission.num_tokens) == (5000, 10**6)
    assert set(load.admission.held) == set(list(held)[500:])
    assert load.num_opened == {7: 9}
    page.write(Load(AdmissionState(True, 7, 8, 100.0, 256, {"x" * SIZE: (1.0, 7, 8)}), {7: 9}))
    assert reader.read() == Load(AdmissionState(True, 7, 8, 100.0, 256, {}), {7: 9})


def test_a_page_has_one_writer(tmp_path: Path) -> None:
    """A second page in the same place is refused, and a reader cannot write."""
    LoadPage.create(tmp_path / "load")
    with pytest.raises(FileExistsError):
        LoadPage.create(tmp_path / "load")
    with pytest.raises(TypeError):
        LoadPage.attach(tmp_path / "load").write(numbered(1))


def test_the_space_of_a_page_is_reserved(tmp_path: Path) -> None:
    """A sparse file on a disk that is full later would kill the engine process, by SIGBUS at a write of more tasks."""
    LoadPage.create(tmp_path / "page").close()
    found = (tmp_path / "page").stat()
    assert found.st_size == SIZE
    assert found.st_blocks * 512 >= SIZE
