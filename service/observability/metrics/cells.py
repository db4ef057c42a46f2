"""Cells: the numbers of one process, in memory or in a file that outlives it, and those of all processes of a server.

Each process maps a file of its own in a folder that all share, and only it writes there. When a process has ended,
`mark_process_dead` adds its numbers to those of the other dead processes: nothing is lost and nothing counted twice.
"""

import mmap
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from service.errors import InvalidInput
from service.observability.metrics.names import locked, open_for
from service.processes.folder import reserve

NUM_GAUGES = 128  # the first cells; those of a dead process do not count
REPLACED = NUM_GAUGES  # the cell with the number of processes that were marked as dead
FIRST = NUM_GAUGES + 1  # of the cells that are added up over all processes, living and dead
# Adding and subtracting it rounds a number of seconds to a multiple of 2**-20, about a microsecond. Sums of such
# numbers are exact (up to 2**33 s), and so the same in any order. Otherwise a counter could decrease in its last bit
# when another process shows it, or when a process ends, and Prometheus takes a decrease for a restart.
ROUND = 1.5 * 2.0**32
_SUFFIX, _UNFINISHED = ".cells", ".new"
_DEAD = f"dead{_SUFFIX}"
_LOCK = "lock"
_BYTES = 8  # of a cell

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


class Cells:
    """`num_cells` float64 numbers of this process (`own`), which one thread changes.

    The first NUM_GAUGES are NaN until they are set, the others begin at 0. All processes with the same folder, which
    is made if it does not exist, have the same number of cells. Raises InvalidInput if the disk has no space.
    """

    def __init__(self, num_cells: int, folder: Path | None = None) -> None:
        self._folder = folder
        self._maps: dict[str, Array] = {}  # of all processes, by the names of their files
        if folder is None:
            memory = bytearray(num_cells * _BYTES)
            self.own = memoryview(memory).cast("d")
            self._maps[""] = np.frombuffer(memory)
        else:
            folder.mkdir(mode=0o700, exist_ok=True)
            self._lock = open_for(self, folder / _LOCK)
            path = folder / f"{os.getpid()}-{time.time_ns()}{_SUFFIX}"
            try:
                self.own = memoryview(_create(path.with_suffix(_UNFINISHED), num_cells)).cast("d")
            except OSError as error:
                path.with_suffix(_UNFINISHED).unlink(missing_ok=True)
                size = f"{num_cells * _BYTES / 1e6:.1f} MB for metrics"
                raise InvalidInput(f"no room of {size} in {folder}: {error.strerror} (TMPDIR moves it)") from error
        for index in range(NUM_GAUGES):
            self.own[index] = float("nan")
        if folder is not None:
            path.with_suffix(_UNFINISHED).rename(path)  # only now other processes see it

    def total(self, first: int, last: int) -> Array:
        """Return the sums of the cells [first:last], not gauges, over all processes that ever ran. For one thread."""
        with self._reading() as (living, dead):
            sums: Array = np.add.reduce([cells[first:last] for cells in (*living, *dead)])
            return sums

    def gauges(self) -> list[list[float]]:
        """Return the NUM_GAUGES gauges of each living process. For the thread that calls `total`."""
        with self._reading() as (living, _):
            return [cells[:NUM_GAUGES].tolist() for cells in living]

    @contextmanager
    def _reading(self) -> Iterator[tuple[list[Array], list[Array]]]:
        """Yield the cells of the living processes and those of the dead ones."""
        if self._folder is None:
            yield list(self._maps.values()), []
            return
        with locked(self._lock, shared=True):
            names = {name for name in os.listdir(self._folder) if name.endswith(_SUFFIX)}
            for name in self._maps.keys() - names:
                del self._maps[name]
            for name in names - self._maps.keys():
                self._maps[name] = np.memmap(self._folder / name, np.float64, "r")
            dead = [self._maps[_DEAD]] if _DEAD in self._maps else []
            yield [cells for name, cells in self._maps.items() if name != _DEAD], dead


def mark_process_dead(folder: Path, pid: int) -> None:
    """Keep the counts of an HTTP process that has ended, drop its gauges, and count it as replaced.

    Call it once after the process has ended and before the next one starts, which may get the same pid. Raises
    OSError without space for the counts of dead processes (0.7 MB with 1,000 tasks); the process's own file then stays.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / _LOCK).open("ab") as lock, locked(lock.fileno()):
        for unfinished in folder.glob(f"{pid}-*{_UNFINISHED}"):
            unfinished.unlink()
        files = sorted(folder.glob(f"{pid}-*{_SUFFIX}"))
        for path in files:
            np.memmap(path, np.float64, "r+")[:NUM_GAUGES] = np.nan
        dead = _open_dead(folder)
        if dead is None:  # no process has begun to count
            return
        for path in files:
            dead[FIRST:] += np.memmap(path, np.float64, "r")[FIRST:]
            path.unlink()
        dead[REPLACED] += 1


def _open_dead(folder: Path) -> Array | None:
    path = folder / _DEAD
    if not path.exists():
        sizes = [other.stat().st_size for other in folder.glob(f"*{_SUFFIX}")]
        if not sizes:
            return None
        _create(path.with_suffix(_UNFINISHED), sizes[0] // _BYTES).close()
        path.with_suffix(_UNFINISHED).rename(path)
    return np.memmap(path, np.float64, "r+")


def _create(path: Path, num_cells: int) -> mmap.mmap:
    """Make a file of zeros."""
    num_bytes = num_cells * _BYTES
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        reserve(file, num_bytes)
        return mmap.mmap(file, num_bytes)
    finally:
        os.close(file)
