"""LoadPage: shared memory in which the engine process publishes its Load for early rejections by HTTP processes.

One process writes, any number read. A reader that meets an unfinished write keeps what it read before.
"""

import mmap
import pickle
import struct
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from service.processes.folder import reserve
from service.scheduling.admission import AdmissionState

SIZE = 256 * 1024  # bytes; the load of 2,000 tasks
MAX_TASKS = 2000  # of one load: those with the most tokens
_HEAD = struct.Struct("=QQII")  # number of the write, before and after it; size; checksum of number and load
_BEAT = struct.Struct("=d")  # at the end: the writer's last sign of life, in monotonic seconds of the machine


@dataclass(frozen=True)
class Load:
    """The numbers by which the engine process gives permits, at one moment."""

    admission: AdmissionState
    num_opened: dict[int, int]  # by connection of an HTTP process: the openings that these numbers contain


class LoadPage:
    """A file that is mapped into memory: one Load."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._number = 0  # of the last write, or of the last that was read
        self._load: Load | None = None

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

    def write(self, load: Load) -> None:
        """Publish `load`."""
        data = _encode(load, MAX_TASKS)
        if len(data) > SIZE - _HEAD.size - _BEAT.size:
            data = _encode(load, 0)
        self._number += 1
        struct.pack_into("=Q", self._memory, 0, self._number)
        self._memory[_HEAD.size : _HEAD.size + len(data)] = data
        struct.pack_into("=QII", self._memory, 8, self._number, len(data), _checksum(data, self._number))

    def beat(self) -> None:
        """Give a sign of life, as the writer."""
        _BEAT.pack_into(self._memory, SIZE - _BEAT.size, time.monotonic())

    @property
    def silent_s(self) -> float:
        """Seconds since the writer's last sign of life."""
        return max(0.0, time.monotonic() - float(_BEAT.unpack_from(self._memory, SIZE - _BEAT.size)[0]))

    def read(self) -> Load | None:
        """Return the newest load; None before the first one."""
        begun, ended, size, checksum = _HEAD.unpack_from(self._memory)
        if ended == self._number or begun != ended:
            return self._load
        data = self._memory[_HEAD.size : _HEAD.size + size]
        if _checksum(data, ended) == checksum and _HEAD.unpack_from(self._memory)[:2] == (begun, ended):
            self._load, self._number = pickle.loads(data), ended
        return self._load

    def close(self) -> None:
        """Unmap the memory."""
        self._memory.close()


def _encode(load: Load, max_tasks: int) -> bytes:
    return pickle.dumps(Load(load.admission.limited_to(max_tasks), load.num_opened), protocol=5)


def _checksum(data: bytes, number: int) -> int:
    return zlib.crc32(data, number & 0xFFFFFFFF)
