"""AdapterCache: loads that are shared, fail, hang or outlive their requests."""

import asyncio

import pytest

from service.adapter_cache.cache import RETRY_S, AdapterCache
from service.errors import AdapterUnavailable
from tests.support.shelf import Shelf, pinned, residents, settle, use


async def test_loads_once(shelf: Shelf, cache: AdapterCache) -> None:
    """Many requests for an adapter that is not there share one load and one slot."""

    async def ask() -> int:
        async with pinned(cache, shelf.versions[0]) as slot:
            return slot

    assert len(set(await asyncio.gather(*(ask() for _ in range(20))))) == 1
    assert len(shelf.loads) == 1


async def test_hanging_loads_delay_no_others(shelf: Shelf) -> None:
    """While three loads hang, a fourth adapter is loaded and a resident one is served."""
    cache = shelf.cache(5 * shelf.size(0))
    await use(cache, shelf, 0)
    gates = [shelf.hold_back(index) for index in (1, 2)]
    slow = [asyncio.create_task(use(cache, shelf, index)) for index in (1, 2)]
    await settle()
    await use(cache, shelf, 0, 3)
    assert not any(task.done() for task in slow)
    for gate in gates:
        gate.set()
    await asyncio.gather(*slow)


async def test_a_failed_load_raises_in_the_requests_for_it(shelf: Shelf, cache: AdapterCache) -> None:
    """A failed load raises in all requests for it and in no others, and takes no memory."""
    gate = shelf.hold_back(0)
    shelf.broken.add(shelf.versions[0].digest)
    waiting = [asyncio.create_task(use(cache, shelf, 0)) for _ in range(3)]
    other = asyncio.create_task(use(cache, shelf, 1))
    await settle()
    gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [AdapterUnavailable] * 3
    await other
    assert cache.used_bytes == shelf.size(1)


async def test_a_broken_adapter_is_not_hammered(shelf: Shelf, cache: AdapterCache) -> None:
    """Requests that come at once after a failed load get its error without a load; then it is tried again."""
    shelf.broken.add(shelf.versions[0].digest)
    for _ in range(5):
        with pytest.raises(AdapterUnavailable, match="broken"):
            await use(cache, shelf, 0)
    assert len(shelf.loads) == 1
    shelf.broken.clear()
    shelf.clock.now += RETRY_S
    await use(cache, shelf, 0)
    assert len(shelf.loads) == 2


async def test_a_repaired_adapter_is_tried_at_once(shelf: Shelf, cache: AdapterCache) -> None:
    """A load that just failed is tried again after a change of the registry, or when an operator asks for it."""
    shelf.broken.add(shelf.versions[0].digest)
    for _ in range(2):
        with pytest.raises(AdapterUnavailable):
            await cache.warm(shelf.versions[0].adapter)
    assert len(shelf.loads) == 2
    shelf.broken.clear()
    cache.on_registry_change(shelf.adapters)
    await use(cache, shelf, 0)


async def test_a_load_that_began_goes_on_without_its_request(shelf: Shelf, cache: AdapterCache) -> None:
    """A load whose requests are all cancelled still ends: the adapter serves the next request, and can be evicted."""
    gate = shelf.hold_back(0)
    waiting = [asyncio.create_task(use(cache, shelf, 0)) for _ in range(2)]
    await settle()
    for task in waiting:
        task.cancel()
    await settle()
    gate.set()
    await settle()
    await use(cache, shelf, 0)
    assert len(shelf.loads) == 1
    await use(cache, shelf, 1, 2)
    assert residents(cache, shelf) == [1, 2]


async def test_the_load_runs_beside_other_work(shelf: Shelf, cache: AdapterCache) -> None:
    """A hold begins the load at once, before a request waits for the slot."""
    with cache.pin(shelf.versions[0].adapter) as resident:
        await settle()
        assert shelf.loads == [shelf.versions[0].digest]
        assert shelf.bank.task(await resident.wait_slot()) == shelf.versions[0].spec


async def test_closing_gives_loads_up(shelf: Shelf, cache: AdapterCache) -> None:
    """A load that hangs does not hang the end of the server."""
    shelf.hold_back(0)
    waiting = asyncio.create_task(cache.warm(shelf.versions[0].adapter))
    await settle()
    await cache.close()
    assert not cache._loading
    waiting.cancel()
    await settle()
