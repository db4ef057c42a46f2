"""AdapterCache: loads adapters into slots of the device, pins those in use, and evicts the least recently used.

Owned by the event loop, which a load never blocks. A slot number is never reused and a pinned slot is never cleared,
so a batch cannot meet another adapter's weights. docs/sizing.md has the rules. A gated file is resident by its mean
gate's adapter, which keeps its experts; the adapters of keys are merged from these.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager

from service.adapter_cache.residency import Place, Residency, Resident
from service.core import AdapterRef, CheckedUpload, GatedRef
from service.engine.backend import EngineBackend, HostExperts
from service.errors import AdapterUnavailable
from service.observability.metrics import Metrics

Loadable = AdapterRef | CheckedUpload
Load = Callable[[str, int, int | None], Awaitable[HostExperts | None]]
RETRY_S = 0.5  # requests within this time after a failed load get its error without another try


class AdapterCache:
    """`load(digest, slot, row)` brings an adapter into a slot of `engine`; it may raise ServiceError.

    `row` is that of a key in a gated file, whose experts it returns: while they are in use, no key reads the registry.
    """

    def __init__(
        self,
        engine: EngineBackend,
        load: Load,
        memory_bytes: int,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._load, self._metrics, self._clock = engine, load, metrics, clock
        self._residency = Residency(memory_bytes, engine.clear, metrics.adapter_evictions.inc, clock)
        self._failures: dict[Place, tuple[float, Exception]] = {}  # the error of a load is repeated until that time
        self._loading: set[asyncio.Task[None]] = set()
        metrics.watch(metrics.resident_adapters, lambda: len(self._residency))
        metrics.watch(metrics.adapter_memory, lambda: self._residency.used_bytes)
        metrics.adapter_memory_limit.set(memory_bytes)

    @property
    def used_bytes(self) -> int:
        """Device memory that adapters occupy or are being loaded into."""
        return self._residency.used_bytes

    def is_resident(self, digest: str) -> bool:
        """Whether the adapter is on the device, being loaded, or queued for memory."""
        return self._residency.find(digest) is not None

    @contextmanager
    def pin(self, adapter: Loadable, row: int | None = None, *, retry: bool = False) -> Iterator[Resident]:
        """Keep the adapter on the device while the context is open; start its load first if necessary.

        Of a gated file it is the adapter of the key in `row`, or that of the mean gate. The load runs beside the
        caller's other work: `Resident.wait_slot` waits for it. Raises AdapterUnavailable when the adapter can never
        fit, and the error of a load that failed just now unless `retry`.
        """
        resident = self._residency.find(adapter.digest, row) or self._enqueue(adapter, row, retry=retry)
        self._residency.pin(resident)
        self._start_loads()
        try:
            yield resident
        finally:
            self._unpin(resident)

    @contextmanager
    def pin_batch(self, slots: Iterable[int]) -> Iterator[None]:
        """Keep pinned slots as they are while a batch computes with them.

        The requests of the batch may end meanwhile, when a client leaves or a deadline passes.
        """
        residents = [self._residency.in_slot(slot) for slot in slots]
        for resident in residents:
            self._residency.pin(resident, by_batch=True)
        try:
            yield
        finally:
            for resident in residents:
                self._unpin(resident)

    async def warm(self, adapter: Loadable) -> None:
        """Load the adapter now, so that its first request does not wait. Raises as `pin` and the load do."""
        with self.pin(adapter, retry=True) as resident:
            await resident.wait_loaded()

    def can_hold(self, adapter: Loadable) -> bool:
        """Whether the adapter would fit if it were the only one; of a gated file with that of one key beside it."""
        of_key = self._num_bytes(adapter, 0) if _gated_bytes(adapter) else 0
        return self._num_bytes(adapter, None) + of_key <= self._residency.memory_bytes

    def has_room_for(self, adapter: Loadable) -> bool:
        """Whether the adapter could be loaded without evicting another."""
        return self._residency.has_room_for(self._num_bytes(adapter, None))

    def on_registry_change(self, published: Collection[str]) -> None:
        """Remove adapters that are no longer published once they are unused, and allow failed loads to be retried."""
        self._failures.clear()
        self._residency.remove_unpublished(published)
        self._start_loads()

    async def close(self) -> None:
        """Cancel the loads that are running."""
        for task in self._loading:
            task.cancel()
        await asyncio.gather(*self._loading, return_exceptions=True)

    def _enqueue(self, adapter: Loadable, row: int | None, *, retry: bool) -> Resident:
        until, error = self._failures.get(adapter.digest if row is None else (adapter.digest, row), (0.0, None))
        if error is not None and not retry and self._clock() < until:
            raise error.with_traceback(None)
        needed = self._num_bytes(adapter, row)
        if needed > self._residency.memory_bytes:
            raise AdapterUnavailable(
                f"adapter {adapter.digest[:12]} needs {needed} bytes of adapter memory and "
                f"ADAKRON_ADAPTER_MEMORY_BYTES is {self._residency.memory_bytes}"
            )
        return self._residency.enqueue(adapter.digest, needed, row)

    def _unpin(self, resident: Resident) -> None:
        self._residency.unpin(resident)
        self._start_loads()

    def _start_loads(self) -> None:
        while (resident := self._residency.start_load()) is not None:
            task = asyncio.create_task(self._run_load(resident))
            self._loading.add(task)
            task.add_done_callback(self._loading.discard)

    async def _run_load(self, resident: Resident) -> None:
        started = time.perf_counter()
        try:
            experts = await self._load(resident.digest, resident.slot, resident.row)
        except Exception as error:  # raised again to the requests that wait for the adapter
            self._residency.fail_load(resident, error)
            self._remember(resident.place, error)
        else:
            self._metrics.adapter_load.observe(time.perf_counter() - started)
            resident.experts = experts if resident.row is None else None
            self._residency.finish_load(resident)
        self._start_loads()

    def _remember(self, place: Place, error: Exception) -> None:
        now = self._clock()
        self._failures = {place: item for place, item in self._failures.items() if now < item[0]}
        self._failures[place] = (now + RETRY_S, error)

    def _num_bytes(self, adapter: Loadable, row: int | None) -> int:
        slot = self._engine.num_bytes(adapter.num_parameters, adapter.num_outputs)
        return slot + _gated_bytes(adapter) if row is None else slot


def _gated_bytes(adapter: Loadable) -> int:
    """Return the memory of a gated file's experts and gates; 0 for other adapters."""
    if isinstance(adapter, CheckedUpload):
        return adapter.gated_bytes
    return adapter.num_bytes if isinstance(adapter, GatedRef) else 0
