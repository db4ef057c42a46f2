"""Adapters by digest, loaded when the test says so: the dependencies of AdapterCache."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import cast

import torch

from adapters import checkpoint
from adapters.adapter import Adapter
from adapters.gates import GatedAdapter
from adapters.serving.bank import AdapterBank
from service.adapter_cache.cache import AdapterCache
from service.core import PublishedVersion
from service.engine.backend import EngineBackend
from service.errors import AdapterUnavailable
from service.observability.metrics import Metrics
from tests.support.factories import make_adapter_bytes


def make_version(task: str, adapter: Adapter | GatedAdapter, num_bytes: int) -> PublishedVersion:
    """Describe the adapter as the registry would."""
    metadata = adapter.metadata
    return PublishedVersion(
        task=task,
        version=1,
        digest=adapter.digest,
        spec=metadata.task,
        metrics={},
        num_parameters=metadata.num_parameters,
        num_bytes=num_bytes,
        created_at=datetime.now(UTC),
        gates=metadata.gates,
    )


class Clock:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Shelf:
    """Adapters with `sizes` (their p); loads of those in `held_back` wait until they are released, `broken` ones
    fail."""

    def __init__(self, sizes: list[int]) -> None:
        files = [make_adapter_bytes(seed=seed, p=p) for seed, p in enumerate(sizes)]
        self.adapters = {adapter.digest: adapter for adapter in map(checkpoint.parse_plain, files)}
        self.versions = [
            make_version(f"task-{index}", adapter, len(files[index]))
            for index, adapter in enumerate(self.adapters.values())
        ]
        self.bank = AdapterBank(32, "cpu", torch.float32)
        self.clock = Clock()
        self.loads: list[str] = []
        self.held_back: dict[str, asyncio.Event] = {}
        self.broken: set[str] = set()

    def size(self, index: int) -> int:
        """Return the bytes of one adapter on the device."""
        version = self.versions[index]
        return self.bank.num_bytes(version.num_parameters, version.spec.num_outputs)

    def cache(self, memory_bytes: int) -> AdapterCache:
        """Create an AdapterCache on this shelf."""
        return AdapterCache(cast(EngineBackend, self.bank), self.load, memory_bytes, Metrics(), clock=self.clock)

    def hold_back(self, index: int) -> asyncio.Event:
        """Let the loads of one adapter wait for the returned event."""
        event = self.held_back[self.versions[index].digest] = asyncio.Event()
        return event

    async def load(self, digest: str, slot: int, row: int | None) -> None:
        """Load an adapter into a slot of the bank, as AdapterCache asks."""
        assert row is None
        self.loads.append(digest)
        if digest in self.held_back:
            await self.held_back[digest].wait()
        if digest in self.broken:
            raise AdapterUnavailable("broken")
        self.bank.write(slot, self.adapters[digest])


@asynccontextmanager
async def pinned(cache: AdapterCache, version: PublishedVersion) -> AsyncIterator[int]:
    """Pin the adapter of `version`, and yield its slot once it is loaded."""
    with cache.pin(version.adapter) as resident:
        yield await resident.wait_slot()


async def use(cache: AdapterCache, shelf: Shelf, *indices: int) -> None:
    """Use these adapters, one after the other."""
    for index in indices:
        async with pinned(cache, shelf.versions[index]):
            pass


def residents(cache: AdapterCache, shelf: Shelf) -> list[int]:
    """Return the adapters that are resident."""
    return [index for index, version in enumerate(shelf.versions) if cache.is_resident(version.digest)]


async def settle() -> None:
    """Let everything run that needs only turns of the event loop."""
    for _ in range(50):
        await asyncio.sleep(0)
