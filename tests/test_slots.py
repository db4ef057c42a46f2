"""Loading, pinning and eviction."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import torch

from adapters import checkpoint
from adapters.adapter import Adapter
from adapters.bank import AdapterBank, SegmentRows
from service.core import PublishedVersion
from service.errors import AdapterUnavailable
from service.metrics import Metrics
from service.slots import Slots
from tests.factories import make_adapter_bytes


class Shelf:
    """Adapters by digest, as the registry would give them; `gate` holds loads back, `broken` ones fail."""

    def __init__(self, number: int) -> None:
        self.files = [make_adapter_bytes(seed=seed) for seed in range(number)]
        self.adapters = {adapter.digest: adapter for adapter in map(checkpoint.loads, self.files)}
        self.versions = [self._version(index, adapter) for index, adapter in enumerate(self.adapters.values())]
        self.loads: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.broken: set[str] = set()

    def _version(self, index: int, adapter: Adapter) -> PublishedVersion:
        metadata = adapter.metadata
        return PublishedVersion(
            task=f"task-{index}",
            version=1,
            digest=adapter.digest,
            spec=metadata.task,
            metrics={},
            num_parameters=metadata.num_parameters,
            num_bytes=len(self.files[index]),
            created_at=datetime.now(UTC),
        )

    def load(self, digest: str) -> Adapter:
        self.loads.append(digest)
        assert self.gate.wait(10)
        if digest in self.broken:
            raise AdapterUnavailable("broken")
        return self.adapters[digest]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(4)


@pytest.fixture
def bank() -> AdapterBank:
    return AdapterBank(32, "cpu", torch.float32)


@pytest.fixture
def slots(shelf: Shelf, bank: AdapterBank) -> Iterator[Slots]:
    """Room for two of the shelf's adapters."""
    size = bank.num_bytes(shelf.versions[0].num_parameters, 2)
    made = Slots(bank, shelf.load, 2 * size + 10, Metrics())
    yield made
    made.close()


async def test_loads_once(shelf: Shelf, slots: Slots) -> None:
    """Many requests for an adapter that is not there share one load and one slot."""

    async def use() -> int:
        async with slots.pinned(shelf.versions[0]) as slot:
            return slot

    assert len(set(await asyncio.gather(*(use() for _ in range(20))))) == 1
    assert len(shelf.loads) == 1


async def test_evicts_the_least_recently_used(shelf: Shelf, slots: Slots) -> None:
    """Without room the adapter that was used longest ago goes, and its memory is given back."""
    first, second, third, _ = shelf.versions
    for version in (first, second, first, third):
        await slots.warm(version)
    assert [slots.is_resident(version.digest) for version in (first, second, third)] == [True, False, True]
    used = slots.used_bytes
    await slots.warm(second)
    assert slots.used_bytes == used


async def test_pinned_adapters_are_never_evicted(shelf: Shelf, slots: Slots, bank: AdapterBank) -> None:
    """A third adapter waits until one of two pinned ones is let go, and the pinned slots keep their weights."""
    first, second, third, _ = shelf.versions
    h = torch.randn(2, 32)
    async with slots.pinned(first) as slot:
        before = bank.apply(0, h.clone(), [SegmentRows(slot, 0, 2)])
        async with slots.pinned(second):
            waiting = asyncio.create_task(slots.warm(third))
            for _ in range(20):
                await asyncio.sleep(0)
            assert not waiting.done()
        await waiting
        assert torch.equal(bank.apply(0, h.clone(), [SegmentRows(slot, 0, 2)]), before)
        assert not slots.is_resident(second.digest)


async def test_slow_load_holds_up_nobody_else(shelf: Shelf, slots: Slots) -> None:
    """While one adapter is being read, another that is resident is served."""
    await slots.warm(shelf.versions[0])
    shelf.gate.clear()
    slow = asyncio.create_task(slots.warm(shelf.versions[1]))
    await asyncio.sleep(0.01)
    async with slots.pinned(shelf.versions[0]):
        assert not slow.done()
    shelf.gate.set()
    await slow


async def test_failed_load_is_told_and_forgotten(shelf: Shelf, slots: Slots) -> None:
    """A load that fails reaches those who wait, takes no memory, and the next request tries again."""
    version = shelf.versions[0]
    shelf.broken.add(version.digest)
    with pytest.raises(AdapterUnavailable):
        await slots.warm(version)
    assert slots.used_bytes == 0
    shelf.broken.clear()
    await slots.warm(version)
    assert slots.is_resident(version.digest)


async def test_cancelled_request_does_not_cancel_the_load(shelf: Shelf, slots: Slots) -> None:
    """Where one of two that wait for a load goes away, the other still gets the adapter."""
    shelf.gate.clear()
    one, two = (asyncio.create_task(slots.warm(shelf.versions[0])) for _ in range(2))
    await asyncio.sleep(0.01)
    one.cancel()
    shelf.gate.set()
    await two
    assert len(shelf.loads) == 1


async def test_adapter_larger_than_the_memory_is_refused(shelf: Shelf, bank: AdapterBank) -> None:
    """An adapter that could never fit is an error that names the setting, not a wait for ever."""
    slots = Slots(bank, shelf.load, 100, Metrics())
    with pytest.raises(AdapterUnavailable, match="ADAKRON_ADAPTER_MEMORY"):
        await slots.warm(shelf.versions[0])
    slots.close()


async def test_unpublished_adapters_are_freed(shelf: Shelf, slots: Slots) -> None:
    """An adapter that the registry no longer has is dropped at once; one in use stays until it is let go."""
    kept, gone = shelf.versions[:2]
    await slots.warm(kept)
    async with slots.pinned(gone):
        slots.drop_unpublished({kept.digest})
        assert slots.is_resident(gone.digest)
    slots.drop_unpublished({kept.digest})
    assert not slots.is_resident(gone.digest)
    assert slots.is_resident(kept.digest)
