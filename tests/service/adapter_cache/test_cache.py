"""AdapterCache: pinning and eviction."""

import asyncio
import gc

import pytest
import torch

from adapters.serving.bank import SegmentRows
from service.adapter_cache.cache import AdapterCache
from service.adapter_cache.residency import FRESH_S, MAX_OVERTAKES
from service.errors import AdapterUnavailable
from tests.support.shelf import Shelf, pinned, residents, settle, use


async def test_evicts_the_least_recently_used(shelf: Shelf, cache: AdapterCache) -> None:
    """A full cache evicts the adapter that was used longest ago, and its memory is freed."""
    await use(cache, shelf, 0, 1, 0, 2)
    assert residents(cache, shelf) == [0, 2]
    used = cache.used_bytes
    await use(cache, shelf, 1)
    assert cache.used_bytes == used


async def test_memory_is_what_the_tensors_take(shelf: Shelf, cache: AdapterCache) -> None:
    """The bytes that are counted are those of the tensors, and an evicted adapter's tensors are gone."""
    gc.collect()
    before = {id(item) for item in gc.get_objects() if type(item) is torch.Tensor}
    await use(cache, shelf, 0, 1, 2, 3, 0, 2)
    gc.collect()
    made = [item for item in gc.get_objects() if type(item) is torch.Tensor and id(item) not in before]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in made}
    assert sum(storages.values()) == cache.used_bytes == 2 * shelf.size(0)


async def test_pinned_adapters_are_never_evicted(shelf: Shelf, cache: AdapterCache) -> None:
    """A third adapter waits until one of two pinned ones is let go, and the pinned slots keep their weights."""
    first, second, third, *_ = shelf.versions
    h = torch.randn(2, 32)
    async with pinned(cache, first) as slot:
        before = shelf.bank.apply(0, h.clone(), [SegmentRows(slot, 0, 2)])
        async with pinned(cache, second):
            waiting = asyncio.create_task(cache.warm(third.adapter))
            await settle()
            assert not waiting.done()
        await waiting
        assert torch.equal(shelf.bank.apply(0, h.clone(), [SegmentRows(slot, 0, 2)]), before)
        assert residents(cache, shelf) == [0, 2]


async def test_a_batch_keeps_its_slots(shelf: Shelf, cache: AdapterCache) -> None:
    """A slot that a batch computes with stays when the request that pinned it has left."""
    async with pinned(cache, shelf.versions[0]) as slot:
        batch = cache.pin_batch([slot])
        batch.__enter__()
    waiting = asyncio.create_task(use(cache, shelf, 1, 2, 3))
    await waiting
    assert shelf.bank.task(slot) == shelf.versions[0].spec
    batch.__exit__(None, None, None)
    await use(cache, shelf, 1, 2)
    with pytest.raises(KeyError):
        shelf.bank.task(slot)


async def test_a_request_that_leaves_takes_its_place_in_the_queue_along(shelf: Shelf, cache: AdapterCache) -> None:
    """A cancelled request in the queue for memory is never loaded, and leaves neither bytes nor a pin behind."""
    async with pinned(cache, shelf.versions[0]), pinned(cache, shelf.versions[1]):
        leaver = asyncio.create_task(use(cache, shelf, 2))
        stayer = asyncio.create_task(use(cache, shelf, 3))
        await settle()
        leaver.cancel()
        await settle()
        assert not cache.is_resident(shelf.versions[2].digest)
    await stayer
    assert shelf.versions[2].digest not in shelf.loads
    assert cache.used_bytes == 2 * shelf.size(0)


async def test_a_large_adapter_is_not_passed_by_small_ones(shelf: Shelf, cache: AdapterCache) -> None:
    """First come first served: while a large adapter waits, no later small one takes the room that gets free."""
    async with pinned(cache, shelf.versions[0]):
        large = asyncio.create_task(use(cache, shelf, 4))
        await settle()
        small = asyncio.create_task(use(cache, shelf, 1))
        await settle()
        assert shelf.loads == [shelf.versions[0].digest]
    await asyncio.gather(large, small)
    assert shelf.loads == [shelf.versions[index].digest for index in (0, 4, 1)]


async def test_tasks_that_are_never_idle_make_room_in_the_end(shelf: Shelf, cache: AdapterCache) -> None:
    """A new adapter is loaded after a bounded number of requests for residents that are never idle; all continue."""
    turns = {0: 0, 1: 0}

    async def keep_busy(index: int) -> None:
        while True:
            async with pinned(cache, shelf.versions[index]):
                turns[index] += 1
                await asyncio.sleep(0)

    busy = [asyncio.create_task(keep_busy(index)) for index in (0, 1) for _ in range(3)]
    await settle()
    before = sum(turns.values())
    for index in (2, 3):
        await use(cache, shelf, index)
    assert sum(turns.values()) - before < 4 * MAX_OVERTAKES
    reached = dict(turns)
    await settle()
    assert all(turns[index] > reached[index] for index in turns)
    for task in busy:
        task.cancel()
    await asyncio.gather(*busy, return_exceptions=True)


async def test_what_was_just_loaded_is_spared_until_it_is_used(shelf: Shelf, cache: AdapterCache) -> None:
    """A warmed adapter is kept for a time even if others were used later; it is evicted if there is no other."""
    await use(cache, shelf, 0)
    await cache.warm(shelf.versions[1].adapter)
    await use(cache, shelf, 0, 2)
    assert residents(cache, shelf) == [1, 2]
    shelf.clock.now += FRESH_S
    await use(cache, shelf, 2, 3)
    assert residents(cache, shelf) == [2, 3]
    cache = shelf.cache(2 * shelf.size(0))
    for index in range(3):
        await cache.warm(shelf.versions[index].adapter)
    assert residents(cache, shelf) == [1, 2]


async def test_nothing_is_evicted_in_vain(shelf: Shelf, cache: AdapterCache) -> None:
    """While what may be evicted is too little for the one that waits, it stays and is served."""
    large = shelf.versions[4]
    await use(cache, shelf, 0)
    async with pinned(cache, shelf.versions[1]):
        waiting = asyncio.create_task(cache.warm(large.adapter))
        await settle()
        await use(cache, shelf, 0)
        assert shelf.loads.count(shelf.versions[0].digest) == 1
    await waiting


async def test_adapter_larger_than_the_memory_is_refused(shelf: Shelf) -> None:
    """An adapter that could never fit is an error that names the setting, not a wait for ever."""
    with pytest.raises(AdapterUnavailable, match="ADAKRON_ADAPTER_MEMORY_BYTES"):
        await shelf.cache(100).warm(shelf.versions[0].adapter)


async def test_unpublished_adapters_are_freed(shelf: Shelf, cache: AdapterCache) -> None:
    """An adapter that the registry no longer has is dropped at once; one in use when it is let go."""
    kept, gone = shelf.versions[:2]
    await cache.warm(kept.adapter)
    async with pinned(cache, gone) as slot:
        cache.on_registry_change({kept.digest})
        assert shelf.bank.task(slot) == gone.spec
        assert cache.used_bytes == 2 * shelf.size(0)
    assert residents(cache, shelf) == [0]
    assert cache.used_bytes == shelf.size(0)
    cache.on_registry_change(set())
    assert cache.used_bytes == 0


async def test_an_unpublished_adapter_that_is_loading_is_freed(shelf: Shelf, cache: AdapterCache) -> None:
    """An adapter that is unpublished while it is being loaded is freed."""
    gate = shelf.hold_back(0)
    waiting = asyncio.create_task(cache.warm(shelf.versions[0].adapter))
    await settle()
    cache.on_registry_change(set())
    gate.set()
    await waiting
    assert cache.used_bytes == 0
