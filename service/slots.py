"""Slots: which adapter is in which slot of the bank. Loads, pins, and evicts the least recently used, by bytes.

Owned by the event loop; loads run in threads, so a slow one holds up nobody but those who wait for it. A slot
number is never used again, and a pinned slot is never cleared: a batch cannot meet another adapter's weights.
"""

import asyncio
import itertools
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from adapters.adapter import Adapter
from adapters.bank import AdapterBank
from service.core import PublishedVersion
from service.errors import AdapterUnavailable
from service.metrics import Metrics

TIER = "device"


@dataclass
class _Resident:
    slot: int
    num_bytes: int
    loaded: asyncio.Task[None]
    num_pins: int = 0


class Slots:
    """`load(digest)` brings an adapter from the registry; it runs in a thread and may raise ServiceError."""

    def __init__(self, bank: AdapterBank, load: Callable[[str], Adapter], memory_bytes: int, metrics: Metrics) -> None:
        self._bank, self._load, self._metrics = bank, load, metrics
        self._memory_bytes = memory_bytes
        self._residents: OrderedDict[str, _Resident] = OrderedDict()  # least recently used first
        self._used_bytes = 0
        self._numbers = itertools.count()
        self._released = asyncio.Condition()
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="adapter-load")
        metrics.adapter_resident.labels(TIER).set_function(lambda: len(self._residents))

    @property
    def used_bytes(self) -> int:
        """Device memory that adapters take or are about to take."""
        return self._used_bytes

    def is_resident(self, digest: str) -> bool:
        """Whether the adapter is on the device, or on its way."""
        return digest in self._residents

    @asynccontextmanager
    async def pinned(self, version: PublishedVersion) -> AsyncIterator[int]:
        """The slot of `version`, loaded first if need be, and held as long as the context is open.

        Raises AdapterUnavailable where it cannot be loaded, RegistryUnavailable where the registry is away.
        """
        resident = self._residents.get(version.digest) or await self._start_load(version)
        resident.num_pins += 1
        self._residents.move_to_end(version.digest)
        try:
            await asyncio.shield(resident.loaded)
            yield resident.slot
        finally:
            resident.num_pins -= 1
            if resident.num_pins == 0:
                async with self._released:
                    self._released.notify_all()

    async def warm(self, version: PublishedVersion) -> None:
        """Load the adapter now, so that its first request finds it there."""
        async with self.pinned(version):
            pass

    def could_hold(self, num_parameters: int, num_outputs: int) -> bool:
        """Whether an adapter of that size would fit if it were the only one."""
        return self._bank.num_bytes(num_parameters, num_outputs) <= self._memory_bytes

    def has_room_for(self, version: PublishedVersion) -> bool:
        """Whether it could be loaded without evicting another."""
        return self._used_bytes + self._num_bytes(version) <= self._memory_bytes

    def drop_unpublished(self, published: Collection[str]) -> None:
        """Free the slots of adapters that the registry no longer has, unless a request still uses them."""
        for digest in [digest for digest in self._residents if digest not in published]:
            if self._evictable(self._residents[digest]):
                self._clear(digest)

    def close(self) -> None:
        """Wait for loads that are running and end the threads."""
        self._pool.shutdown()

    async def _start_load(self, version: PublishedVersion) -> _Resident:
        needed = self._num_bytes(version)
        if needed > self._memory_bytes:
            raise AdapterUnavailable(
                f"{version.task}@{version.version} needs {needed} bytes of adapter memory and "
                f"ADAKRON_ADAPTER_MEMORY is {self._memory_bytes}"
            )
        while not self._make_room(needed):
            async with self._released:
                await self._released.wait()
        if version.digest in self._residents:  # someone else began while this one waited for room
            return self._residents[version.digest]
        slot = next(self._numbers)
        loaded = asyncio.create_task(self._run_load(version.digest, slot))
        resident = self._residents[version.digest] = _Resident(slot, needed, loaded)
        self._used_bytes += needed
        return resident

    async def _run_load(self, digest: str, slot: int) -> None:
        started = time.perf_counter()
        try:
            await asyncio.get_running_loop().run_in_executor(
                self._pool, lambda: self._bank.write(slot, self._load(digest))
            )
        except BaseException:
            self._used_bytes -= self._residents.pop(digest).num_bytes
            raise
        self._metrics.adapter_load.labels(TIER).observe(time.perf_counter() - started)

    def _make_room(self, needed: int) -> bool:
        for digest in list(self._residents):
            if self._used_bytes + needed <= self._memory_bytes:
                break
            if self._evictable(self._residents[digest]):
                self._clear(digest)
                self._metrics.adapter_evictions.inc()
        return self._used_bytes + needed <= self._memory_bytes

    def _evictable(self, resident: _Resident) -> bool:
        return resident.num_pins == 0 and resident.loaded.done()

    def _clear(self, digest: str) -> None:
        resident = self._residents.pop(digest)
        self._bank.clear(resident.slot)
        self._used_bytes -= resident.num_bytes

    def _num_bytes(self, version: PublishedVersion) -> int:
        return self._bank.num_bytes(version.num_parameters, version.spec.num_outputs)
