"""Residency: which adapters occupy device memory, how many pins each has, and which one is evicted next.

Plain bookkeeping on the event loop: it never waits. AdapterCache runs the loads that it starts. The adapters of keys,
merged from a gated file, are residents like any other; but once they hold half of the memory together, a further one
evicts one of them first, so that requests of very many users leave the adapters of other tasks on the device.
"""

import asyncio
import itertools
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Literal

from service.engine.backend import HostExperts

FRESH_S = 10.0  # a loaded adapter that no request has used yet is evicted last for this long
Place = str | tuple[str, int]  # the digest of an adapter; for the adapter of a key with its row in the gated file
MAX_OVERTAKES = 32  # pins of loaded adapters, while the queue waits for memory, before pinned ones must leave


@dataclass(eq=False)
class Resident:
    """One adapter and its slot, from the first request for it until it is evicted. Changed by Residency only."""

    digest: str  # of the file
    slot: int
    num_bytes: int
    row: int | None = None  # of the key in a gated file; None for the mean gate, and in other files
    experts: HostExperts | None = None  # AdapterCache: of the gated file, while its mean gate's adapter is resident
    state: Literal["queued", "loading", "ready", "failed"] = "queued"  # queued: waits for memory and occupies none
    num_pins: int = 0  # requests and batches that wait for it or use it; a pinned adapter is never cleared
    leaving: bool = False  # cleared at its last unpin; new requests get another slot
    fresh_until: float = 0.0  # seconds of the clock; until then evicted only when no other adapter can be
    error: Exception | None = None  # set when the load failed
    settled: asyncio.Event = field(default_factory=asyncio.Event)  # the load has succeeded or failed

    async def wait_loaded(self) -> None:
        """Wait until the adapter is in its slot. Raises the error of a failed load."""
        if self.state != "ready":
            await self.settled.wait()
            if self.error is not None:
                raise self.error.with_traceback(None)  # the traceback would grow with each request that raises it

    @property
    def place(self) -> Place:
        """Its name among the residents."""
        return self.digest if self.row is None else (self.digest, self.row)

    @property
    def is_loaded(self) -> bool:
        """Whether the adapter is in its slot."""
        return self.state == "ready"

    def use_slot(self) -> int:
        """Mark a loaded adapter as used and return its slot."""
        self.fresh_until = 0.0
        return self.slot

    async def wait_slot(self) -> int:
        """Wait until the adapter is loaded, mark it as used and return its slot. Raises the error of a failed load."""
        await self.wait_loaded()
        return self.use_slot()


class Residency:
    """`clear(slot)` frees a slot's memory; `count_eviction()` is called for each adapter evicted to make room."""

    def __init__(
        self,
        memory_bytes: int,
        clear: Callable[[int], None],
        count_eviction: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self.memory_bytes = memory_bytes
        self.used_bytes = 0  # of the residents in _by_slot
        self._clear, self._count_eviction, self._clock = clear, count_eviction, clock
        self._staying: OrderedDict[Place, Resident] = OrderedDict()  # least recently used first
        self._by_slot: dict[int, Resident] = {}  # residents that occupy memory, leaving ones included
        self._queue: deque[Resident] = deque()  # wait for memory, in the order of their first requests
        self._num_overtakes = 0  # pins of loaded adapters while the head of the queue has been waiting
        self._idle_bytes = 0  # of residents that can be evicted at once
        self._leaving_bytes = 0
        self._merged_bytes = 0  # of the adapters of keys
        self._slots = itertools.count()  # a number is never reused

    def __len__(self) -> int:
        return len(self._by_slot)

    def find(self, digest: str, row: int | None = None) -> Resident | None:
        """Return the resident of that digest and row, queued or loaded; a leaving one is not found."""
        return self._staying.get(digest if row is None else (digest, row))

    def in_slot(self, slot: int) -> Resident:
        """Return the resident that occupies `slot`, leaving or not."""
        return self._by_slot[slot]

    def has_room_for(self, num_bytes: int) -> bool:
        """Whether an adapter of that size would be loaded at once and without an eviction."""
        return not self._queue and self.used_bytes + num_bytes <= self.memory_bytes

    def enqueue(self, digest: str, num_bytes: int, row: int | None = None) -> Resident:
        """Queue an adapter that is not resident for memory."""
        resident = Resident(digest, next(self._slots), num_bytes, row)
        self._staying[resident.place] = resident
        self._queue.append(resident)
        return resident

    def pin(self, resident: Resident, *, by_batch: bool = False) -> None:
        """Add a pin. A batch's pin follows those of its requests, so it does not count as overtaking the queue."""
        resident.num_pins += 1
        if not resident.leaving:
            self._staying.move_to_end(resident.place)
            if resident.num_pins == 1 and resident.state == "ready":
                self._idle_bytes -= resident.num_bytes
        if self._queue and resident.state != "queued" and not by_batch:
            self._num_overtakes += 1

    def unpin(self, resident: Resident) -> None:
        """Remove a pin. Without pins a leaving resident is cleared, and a queued one is dropped."""
        resident.num_pins -= 1
        if resident.num_pins:
            return
        if resident.state == "ready":
            self._rest(resident)
        elif resident.state == "queued":
            if resident is self._queue[0]:
                self._num_overtakes = 0
            self._queue.remove(resident)
            del self._staying[resident.place]

    def start_load(self) -> Resident | None:
        """Give the head of the queue its memory, evicting idle adapters if necessary; None while there is too little.

        First come, first served: a small adapter never passes a large one that came earlier.
        """
        if not self._queue:
            return None
        resident = self._queue[0]
        if not self._make_room(resident):
            if self._num_overtakes >= MAX_OVERTAKES:
                self._reclaim(resident.num_bytes)
            return None
        self._queue.popleft()
        self._num_overtakes = 0
        resident.state = "loading"
        self._by_slot[resident.slot] = resident
        self.used_bytes += resident.num_bytes
        if resident.row is not None:
            self._merged_bytes += resident.num_bytes
        return resident

    def finish_load(self, resident: Resident) -> None:
        """Record that the adapter is in its slot."""
        resident.state, resident.fresh_until = "ready", self._clock() + FRESH_S
        if not resident.num_pins:
            self._rest(resident)
        resident.settled.set()

    def fail_load(self, resident: Resident, error: Exception) -> None:
        """Give the memory back; `error` is raised to the requests that wait for the adapter."""
        resident.state, resident.error = "failed", error
        if not resident.leaving:
            del self._staying[resident.place]
        self._forget(resident)
        resident.settled.set()

    def remove_unpublished(self, published: Collection[str]) -> None:
        """Clear adapters whose digest is not in `published`, pinned ones at their last unpin. Queued ones stay."""
        for resident in [item for item in self._staying.values() if item.digest not in published]:
            if resident.state != "queued":
                self._leave(resident)

    def _make_room(self, newcomer: Resident) -> bool:
        """Evict idle adapters until `newcomer` fits; evict none if that would not be enough."""
        missing = self.used_bytes + newcomer.num_bytes - self.memory_bytes
        if missing > self._idle_bytes:
            return False
        is_over = newcomer.row is not None and 2 * (self._merged_bytes + newcomer.num_bytes) > self.memory_bytes
        for resident in self._choose_victims(missing, merged_first=is_over):
            self._idle_bytes -= resident.num_bytes
            del self._staying[resident.place]
            self._free(resident)
            self._count_eviction()
        return True

    def _choose_victims(self, missing: int, *, merged_first: bool) -> list[Resident]:
        """Return idle residents of at least `missing` bytes, those loaded just now last.

        With `merged_first` the adapters of keys come before all others.
        """
        if missing <= 0:
            return []
        now, ranked = self._clock(), list[list[Resident]]([[], [], [], []])
        for resident in self._staying.values():
            if resident.state == "ready" and not resident.num_pins:
                rank = 2 * (merged_first and resident.row is None) + (resident.fresh_until > now)
                ranked[rank].append(resident)
                if rank == 0:
                    missing -= resident.num_bytes
                    if missing <= 0:
                        return ranked[0]
        victims = ranked[0]
        for resident in itertools.chain(*ranked[1:]):
            if missing <= 0:
                break
            victims.append(resident)
            missing -= resident.num_bytes
        return victims

    def _reclaim(self, needed: int) -> None:
        """Mark the least recently used adapters as leaving, even pinned ones, until `needed` bytes will become free."""
        missing = self.used_bytes + needed - self.memory_bytes - self._idle_bytes - self._leaving_bytes
        for state in ("ready", "loading"):
            for resident in list(self._staying.values()):
                if missing > 0 and resident.num_pins and resident.state == state:
                    missing -= resident.num_bytes
                    self._leave(resident)
                    self._count_eviction()

    def _leave(self, resident: Resident) -> None:
        del self._staying[resident.place]
        resident.leaving = True
        self._leaving_bytes += resident.num_bytes
        if resident.state == "ready" and not resident.num_pins:
            self._idle_bytes -= resident.num_bytes
            self._free(resident)

    def _rest(self, resident: Resident) -> None:
        if resident.leaving:
            self._free(resident)
        else:
            self._idle_bytes += resident.num_bytes

    def _free(self, resident: Resident) -> None:
        self._clear(resident.slot)
        self._forget(resident)

    def _forget(self, resident: Resident) -> None:
        del self._by_slot[resident.slot]
        self.used_bytes -= resident.num_bytes
        if resident.row is not None:
            self._merged_bytes -= resident.num_bytes
        if resident.leaving:
            self._leaving_bytes -= resident.num_bytes
