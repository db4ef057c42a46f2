"""LoadPage: shared memory in which the engine process publishes its load for early rejections by HTTP processes.

One process writes, any number read. A reader that meets an unfinished write keeps what it read before.
"""

import mmap
import pickle
import struct
import zlib
from pathlib import Path
from typing import Self

from service.processes.folder import reserve
from service.scheduling.admission import AdmissionState

SIZE = 256 * 1024  # bytes; the state of 2,000 tasks
MAX_TASKS = 2000  # of one state: those with the most tokens
_HEAD = struct.Struct("=QQII")  # number of the write, before and after it; size; checksum of number and state


class LoadPage:
    """A file that is mapped into memory: one AdmissionState."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._number = 0  # of the last write, or of the last that was read
        self._state: AdmissionState | None = None

    @classmethod
    def create(cls, path: Path) -> Self:
        """Create the file at `path`, which does not exist, for its writer. Raises OSError if the disk has no space."""
        with path.open("x+b") as file:
            reserve(file.fileno(), SIZE)
            return cls(mmap.mmap(file.fileno(), SIZE))

    @classmethod
    def attach(cls, path: Path) -> Self:
        """Open the file for reading."""
        with path.open("rb") as file:
            return cls(mmap.mmap(file.fileno(), SIZE, access=mmap.ACCESS_READ))

    def write(self, state: AdmissionState) -> None:
        """Publish `state`."""
        data = pickle.dumps(state.limited_to(MAX_TASKS), protocol=5)
        if len(data) > SIZE - _HEAD.size:
            data = pickle.dumps(state.limited_to(0), protocol=5)
        self._number += 1
        struct.pack_into("=Q", self._memory, 0, self._number)
        self._memory[_HEAD.size : _HEAD.size + len(data)] = data
        struct.pack_into("=QII", self._memory, 8, self._number, len(data), _checksum(data, self._number))

    def read(self) -> AdmissionState | None:
        """Return the newest state; None before the first one."""
        begun, ended, size, checksum = _HEAD.unpack_from(self._memory)
        if ended == self._number or begun != ended:
            return self._state
        data = self._memory[_HEAD.size : _HEAD.size + size]
        if _checksum(data, ended) == checksum and _HEAD.unpack_from(self._memory)[:2] == (begun, ended):
            self._state, self._number = pickle.loads(data), ended
        return self._state

    def close(self) -> None:
        """Unmap the memory."""
        self._memory.close()


def _checksum(data: bytes, number: int) -> int:
    return zlib.crc32(data, number & 0xFFFFFFFF)
