"""Room: the bytes of the adapters in memory, who uses them, and which of them goes next. No threads, no waiting."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal


@dataclass(eq=False)
class Resident:
    """One adapter in one slot, or on its way there. Changed by Room and AdapterCache only."""

    digest: str
    slot: int
    num_bytes: int
    state: Literal["waiting", "loading", "ready", "failed"] = "waiting"  # waiting: for room; it takes none yet
    num_users: int = 0  # who wait for it or use it: it stays until they are done
    leaving: bool = False  # it goes when its users are done; who comes now gets another slot
    fresh_until: float = 0.0  # seconds of the clock; until then spared where another can go
    error: Exception | None = None  # why the load failed
    settled: asyncio.Event = field(default_factory=asyncio.Event)  # ready or failed


class Room:
    """`clear(slot)` frees a slot's memory, `evicted()` counts what goes to make room for others."""

    def __init__(self, memory_bytes: int, clear: Callable[[int], None], evicted: Callable[[], None]) -> None:
        self.memory_bytes = memory_bytes
        self._clear, self._evicted = clear, evicted
        self._staying: OrderedDict[str, Resident] = OrderedDict()  # by digest, least recently used first
        self._by_slot: dict[int, Resident] = {}  # what takes memory, leaving ones included
        self.used_bytes = 0  # of _by_slot
        self._idle_bytes = 0  # of what may be evicted
        self._leaving_bytes = 0

    def __len__(self) -> int:
        return len(self._by_slot)

    def find(self, digest: str) -> Resident | None:
        """The resident that stays; one that is leaving is not found."""
        return self._staying.get(digest)

    def in_slot(self, slot: int) -> Resident:
        """The one in that slot, leaving or not."""
        return self._by_slot[slot]

    def add(self, resident: Resident) -> None:
        """One that waits for room."""
        self._staying[resident.digest] = resident

    def remove(self, resident: Resident) -> None:
        """One that waits no longer, or whose load failed."""
        if not resident.leaving:
            del self._staying[resident.digest]
        if resident.slot in self._by_slot:
            self._forget(resident)

    def place(self, resident: Resident) -> None:
        """It takes its memory from now on; there must be room."""
        resident.state = "loading"
        self._by_slot[resident.slot] = resident
        self.used_bytes += resident.num_bytes

    def acquire(self, resident: Resident) -> None:
        """One user more."""
        resident.num_users += 1
        if not resident.leaving:
            self._staying.move_to_end(resident.digest)
            if resident.num_users == 1 and resident.state == "ready":
                self._idle_bytes -= resident.num_bytes

    def release(self, resident: Resident) -> None:
        """One user less."""
        resident.num_users -= 1
        if not resident.num_users and resident.state == "ready":
            self._rest(resident)

    def loaded(self, resident: Resident, fresh_until: float) -> None:
        """Its load has ended well."""
        resident.state, resident.fresh_until = "ready", fresh_until
        if not resident.num_users:
            self._rest(resident)

    def make(self, needed: int, now: float) -> bool:
        """Evict until `needed` bytes are free. Nothing is evicted where that would not be enough."""
        missing = self.used_bytes + needed - self.memory_bytes
        if missing > self._idle_bytes:
            return False
        for resident in self._victims(missing, now):
            self._idle_bytes -= resident.num_bytes
            del self._staying[resident.digest]
            self._free(resident)
            self._evicted()
        return True

    def take_back(self, needed: int) -> None:
        """Send so much of what is in use away that `needed` bytes are free in the end, the least recently used."""
        missing = self.used_bytes + needed - self.memory_bytes - self._idle_bytes - self._leaving_bytes
        if missing <= 0:
            return
        for state in ("ready", "loading"):
            for resident in list(self._staying.values()):
                if missing > 0 and resident.num_users and resident.state == state:
                    missing -= resident.num_bytes
                    self._leave(resident)
                    self._evicted()

    def send_away(self, unwanted: Callable[[str], bool]) -> None:
        """Free what has an unwanted digest, now or when its users are done; what still waits for room may come."""
        for resident in [item for item in self._staying.values() if unwanted(item.digest)]:
            if resident.state != "waiting":
                self._leave(resident)

    def _victims(self, missing: int, now: float) -> list[Resident]:
        victims = list[Resident]()
        for fresh in (False, True):
            for resident in self._staying.values():
                if missing <= 0:
                    return victims
                idle = resident.state == "ready" and not resident.num_users
                if idle and (resident.fresh_until > now) == fresh:
                    victims.append(resident)
                    missing -= resident.num_bytes
        return victims

    def _leave(self, resident: Resident) -> None:
        del self._staying[resident.digest]
        resident.leaving = True
        self._leaving_bytes += resident.num_bytes
        if resident.state == "ready" and not resident.num_users:
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
        if resident.leaving:
            self._leaving_bytes -= resident.num_bytes
