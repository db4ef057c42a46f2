"""Names: numbers names 0, 1, 2 ... alike in all processes of a server."""

import fcntl
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Names:
    """Gives at most `limit` names the numbers 0, 1, 2 ... in the order of their arrival.

    Processes that share the file `path`, one name per line, give a name the same number, and keep the limit together.
    Any thread may use it. A name has no line break.
    """

    def __init__(self, limit: int, path: Path | None = None) -> None:
        self._limit = limit
        self._numbers: dict[str, int] = {}
        self._lock = threading.Lock()
        self._file = None if path is None else open_for(self, path)
        self._end = 0  # of the lines of the file that are read

    def number(self, name: str) -> int | None:
        """Return the number of `name`, which gets the next one if it has none.

        Return None beyond the limit, or if the disk is full.
        """
        known = self._numbers.get(name)
        if known is not None or len(self._numbers) >= self._limit:
            return known
        with self._lock, self._shared_file() as file:
            known = self._numbers.get(name)
            if known is None and len(self._numbers) < self._limit:
                if file is not None:
                    line = f"{name}\n".encode()
                    if not _is_written(file, line):
                        return None
                    self._end += len(line)
                known = self._numbers[name] = len(self._numbers)
            return known

    def all(self) -> list[str]:
        """Return all names by number, also those that other processes have added."""
        with self._lock:
            if self._file is not None:
                self._read(self._file)
            return list(self._numbers)

    @contextmanager
    def _shared_file(self) -> Iterator[int | None]:
        """Exclude the other processes and read the lines that they have added."""
        if self._file is None:
            yield None
            return
        with locked(self._file):
            self._read(self._file)
            os.ftruncate(self._file, self._end)  # half a line of a process that was killed
            yield self._file

    def _read(self, file: int) -> None:
        added = os.pread(file, os.fstat(file).st_size - self._end, self._end)
        complete = added[: added.rfind(b"\n") + 1]
        self._end += len(complete)
        for name in complete.decode().split("\n")[:-1]:
            self._numbers[name] = len(self._numbers)


def _is_written(file: int, line: bytes) -> bool:
    """Append a line. Half a line on a full disk counts as none: the next process that adds a name removes it."""
    try:
        return os.write(file, line) == len(line)
    except OSError:
        return False


def open_for(owner: object, path: Path) -> int:
    """Open a file to read it and append to it, until `owner` is collected."""
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    weakref.finalize(owner, os.close, file).atexit = False
    return file


@contextmanager
def locked(file: int, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock of an open file against other processes; it is released however this process ends."""
    fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
