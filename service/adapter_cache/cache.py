"""AdapterCache: which adapter is in which slot of the bank. Loads, pins, and evicts the least recently used, by bytes.

Owned by the event loop, which a load never blocks. A slot number is never used again, and a slot that somebody uses
is never cleared: a batch cannot meet another adapter's weights. docs/sizing.md has the rules.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Protocol

from service.adapter_cache.residency import Resident, Room
from service.core import PublishedVersion
from service.errors import AdapterUnavailable
from service.observability.metrics import Metrics

TIER = "device"
FRESH_S = 10.0  # an adapter that nobody has used yet is spared for so long, where another can go
RETRY_S = 0.5  # a load that failed is not tried again sooner
MAX_OVERTAKES = 32  # uses of what is loaded, while a load waits for room, before some of that must go


class Memory(Protocol):
    """Where the adapters are: an AdapterBank, or an EngineWorker."""

    def num_bytes(self, num_parameters: int, num_outputs: int) -> int:
        """That an adapter takes there."""

    def clear(self, slot: int) -> None:
        """Free the slot."""


class Hold:
    """A slot that was asked for, kept as long as the context is open. Its load has begun, or waits for room."""

    __slots__ = ("_resident", "_slots")

    def __init__(self, slots: "AdapterCache", resident: Resident) -> None:
        self._slots, self._resident = slots, resident

    async def slot(self) -> int:
        """The slot's number, once the adapter is in it. Raises what the load raised."""
        await self.loaded()
        self._resident.fresh_until = 0.0
        return self._resident.slot

    async def loaded(self) -> None:
        """The same for who does not use it. Raises what the load raised."""
        resident = self._resident
        if resident.state != "ready":
            await resident.settled.wait()
            if resident.error is not None:
                raise resident.error.with_traceback(None)  # which would grow with everybody who raises it

    def __enter__(self) -> "Hold":
        self._slots._acquire(self._resident)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._slots._release(self._resident)


class AdapterCache:
    """`load(digest, slot)` brings an adapter from the registry into a slot of `memory`; it may raise ServiceError."""

    def __init__(
        self,
        memory: Memory,
        load: Callable[[str, int], Awaitable[None]],
        memory_bytes: int,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._memory, self._load, self._metrics, self._clock = memory, load, metrics, clock
        self._room = Room(memory_bytes, memory.clear, metrics.adapter_evictions.inc)
        self._waiting: deque[Resident] = deque()  # for room, first come first served
        self._num_overtakes = 0  # since the first of _waiting came to its place
        self._failures: dict[str, tuple[float, Exception]] = {}  # by digest: until when it is not tried again
        self._loading: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count()
        metrics.watch(metrics.adapter_resident.labels(TIER), lambda: len(self._room))
        metrics.watch(metrics.adapter_bytes.labels(TIER), lambda: self._room.used_bytes)
        metrics.adapter_limit_bytes.labels(TIER).set(memory_bytes)

    @property
    def used_bytes(self) -> int:
        """Device memory that adapters take or are about to take."""
        return self._room.used_bytes

    def is_resident(self, digest: str) -> bool:
        """Whether the adapter is on the device, or on its way."""
        return self._room.find(digest) is not None

    def hold(self, version: PublishedVersion, *, retry: bool = False) -> Hold:
        """The slot of `version`, asked for at once and waited for later, so that other work goes on beside the load.

        To be entered at once. Raises AdapterUnavailable where it can never fit, and the last load's error where that
        was just now (not with `retry`).
        """
        return Hold(self, self._room.find(version.digest) or self._ask(version, retry=retry))

    @asynccontextmanager
    async def pinned(self, version: PublishedVersion) -> AsyncIterator[int]:
        """The slot of `version`, loaded first if need be, and held as long as the context is open.

        Raises AdapterUnavailable where it cannot be loaded, RegistryUnavailable where the registry is away.
        """
        with self.hold(version) as hold:
            yield await hold.slot()

    async def warm(self, version: PublishedVersion) -> None:
        """Load the adapter now, so that its first request finds it there. Raises as `pinned`."""
        with self.hold(version, retry=True) as hold:
            await hold.loaded()

    @contextmanager
    def held(self, slots: Iterable[int]) -> Iterator[None]:
        """Keep slots that are in use as they are, for the batch that computes with them.

        Whoever asked for them may leave meanwhile: a client that is gone, a deadline that has passed.
        """
        residents = [self._room.in_slot(slot) for slot in slots]
        for resident in residents:
            self._room.acquire(resident)
        try:
            yield
        finally:
            for resident in residents:
                self._release(resident)

    def could_hold(self, num_parameters: int, num_outputs: int) -> bool:
        """Whether an adapter of that size would fit if it were the only one."""
        return self._memory.num_bytes(num_parameters, num_outputs) <= self._room.memory_bytes

    def has_room_for(self, version: PublishedVersion) -> bool:
        """Whether it could be loaded without evicting another."""
        return not self._waiting and self._room.used_bytes + self._num_bytes(version) <= self._room.memory_bytes

    def follow(self, published: Collection[str]) -> None:
        """The registry has changed: what it no longer has goes when nobody uses it, what failed may be tried again."""
        self._failures.clear()
        self._room.send_away(lambda digest: digest not in published)
        self._begin_loads()

    async def close(self) -> None:
        """Give up the loads that are running."""
        for task in self._loading:
            task.cancel()
        await asyncio.gather(*self._loading, return_exceptions=True)

    def _ask(self, version: PublishedVersion, *, retry: bool) -> Resident:
        until, error = self._failures.get(version.digest, (0.0, None))
        if error is not None and not retry and self._clock() < until:
            raise error.with_traceback(None)
        needed = self._num_bytes(version)
        if needed > self._room.memory_bytes:
            raise AdapterUnavailable(
                f"{version.task}@{version.version} needs {needed} bytes of adapter memory and "
                f"ADAKRON_ADAPTER_MEMORY_BYTES is {self._room.memory_bytes}"
            )
        resident = Resident(version.digest, next(self._numbers), needed)
        self._room.add(resident)
        self._waiting.append(resident)
        return resident

    def _acquire(self, resident: Resident) -> None:
        self._room.acquire(resident)
        if self._waiting:
            if resident.state != "waiting":
                self._num_overtakes += 1
            self._begin_loads()

    def _release(self, resident: Resident) -> None:
        self._room.release(resident)
        if resident.state == "waiting" and not resident.num_users:
            if resident is self._waiting[0]:
                self._num_overtakes = 0
            self._waiting.remove(resident)
            self._room.remove(resident)
        self._begin_loads()

    def _begin_loads(self) -> None:
        """First come first served: a large adapter is not passed by small ones that come later."""
        while self._waiting and self._room.make(self._waiting[0].num_bytes, self._clock()):
            resident = self._waiting.popleft()
            self._num_overtakes = 0
            self._room.place(resident)
            task = asyncio.create_task(self._run_load(resident))
            self._loading.add(task)
            task.add_done_callback(self._loading.discard)
        if self._waiting and self._num_overtakes >= MAX_OVERTAKES:
            self._room.take_back(self._waiting[0].num_bytes)

    async def _run_load(self, resident: Resident) -> None:
        started = time.perf_counter()
        try:
            await self._load(resident.digest, resident.slot)
        except Exception as error:  # told to those who wait for it
            resident.state, resident.error = "failed", error
            self._room.remove(resident)
            self._remember(resident.digest, error)
        else:
            self._metrics.adapter_load.labels(TIER).observe(time.perf_counter() - started)
            self._room.loaded(resident, self._clock() + FRESH_S)
        resident.settled.set()
        self._begin_loads()

    def _remember(self, digest: str, error: Exception) -> None:
        now = self._clock()
        self._failures = {digest: item for digest, item in self._failures.items() if now < item[0]}
        self._failures[digest] = (now + RETRY_S, error)

    def _num_bytes(self, version: PublishedVersion) -> int:
        return self._memory.num_bytes(version.num_parameters, version.spec.num_outputs)
