"""The adapters of keys: merged from a gated file in memory, evicted like any other, and never crowding out the rest."""

import asyncio
import gc
from collections.abc import Iterator
from contextlib import closing
from typing import cast

import pytest
import torch

from adapters.serving.bank import AdapterBank, SegmentRows
from service.adapter_cache.cache import RETRY_S, AdapterCache
from service.adapter_cache.loader import AdapterLoader
from service.core import PublishedVersion
from service.engine.backend import EngineBackend, HostExperts
from service.engine.worker import AdapterWriter
from service.errors import AdapterUnavailable
from service.observability.metrics import Metrics
from tests.support.factories import make_adapter, make_adapter_bytes, make_gated, make_gated_bytes, tiny_identity
from tests.support.shelf import Clock, make_version

NUM_KEYS = 40
KEYS = [f"u{number}" for number in range(NUM_KEYS)]
FILE, GATED = make_gated_bytes(keys=KEYS), make_gated(keys=KEYS)
VERSION = make_version("by-user", GATED, len(FILE))
PLAIN_FILES = [make_adapter_bytes(seed=seed) for seed in range(6)]
PLAIN = [make_version(f"plain-{seed}", make_adapter(seed=seed), len(PLAIN_FILES[seed])) for seed in range(6)]


class Rig:
    """A cache that loads from `stored` into a bank, with memory for the gated file and `num_slots` adapters."""

    def __init__(self, num_slots: int) -> None:
        self.bank, self.clock = AdapterBank(32, "cpu", torch.float32), Clock()
        self.slot_bytes = self.bank.num_bytes(VERSION.num_parameters, 2)
        self.stored = {VERSION.digest: FILE} | {
            version.digest: data for version, data in zip(PLAIN, PLAIN_FILES, strict=True)
        }
        self.reads: list[str] = []
        self.writer = AdapterWriter(self.bank, tiny_identity())
        self.loader = AdapterLoader(self.read, cast(EngineBackend, self.writer))
        memory = num_slots * self.slot_bytes + len(FILE)
        self.cache = AdapterCache(cast(EngineBackend, self.bank), self.loader.load, memory, Metrics(), clock=self.clock)

    def read(self, digest: str) -> bytes:
        self.reads.append(digest)
        return self.stored[digest]

    async def use(self, version: PublishedVersion, row: int | None = None) -> torch.Tensor:
        """Return the output of layer 0 for one row of ones, by the adapter of `version` and `row`."""
        with self.cache.pin(version.adapter, row) as resident:
            return self.output(await resident.wait_slot())

    def output(self, slot: int) -> torch.Tensor:
        return self.bank.apply(0, torch.ones(1, 32), [SegmentRows(slot, 0, 1)])

    async def unpublish(self) -> None:
        """Evict everything, and let the writer's thread forget its last call."""
        self.cache.on_registry_change(set())
        assert self.cache.used_bytes == 0
        await asyncio.get_running_loop().run_in_executor(self.writer._thread, int)

    def resident_rows(self) -> set[int]:
        return {row for row in range(NUM_KEYS) if self.cache._residency.find(VERSION.digest, row)}


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(num_slots=9)
    with closing(rig.loader), closing(rig.writer):
        yield rig


def alone(row: int | None) -> torch.Tensor:
    bank = AdapterBank(32, "cpu", torch.float32)
    bank.write(0, GATED.merge(row))
    return bank.apply(0, torch.ones(1, 32), [SegmentRows(0, 0, 1)])


async def test_each_key_has_its_own_adapter(rig: Rig) -> None:
    """Through evictions and returns, a row's slot holds what the row merges to."""
    for row in [None, *range(NUM_KEYS), None, *range(NUM_KEYS)]:
        assert torch.allclose(await rig.use(VERSION, row), alone(row), atol=1e-6)
    outputs = torch.cat([alone(row) for row in range(NUM_KEYS)])
    apart = (outputs[:, None] - outputs).abs().amax(-1).fill_diagonal_(1)
    assert apart.min() > 1e-4


async def test_further_keys_are_merged_from_memory(rig: Rig) -> None:
    """While the file's mean gate is resident, no key reads the registry."""
    await rig.use(VERSION)
    for row in range(NUM_KEYS):
        await rig.use(VERSION)  # as every request does, to find the row
        await rig.use(VERSION, row)
    assert rig.reads == [VERSION.digest]


async def test_a_file_that_was_evicted_is_read_again(rig: Rig) -> None:
    """The experts leave with the mean gate's adapter; a key that comes later reads the file, and is right."""
    await rig.use(VERSION)
    await rig.unpublish()
    assert torch.allclose(await rig.use(VERSION, 3), alone(3), atol=1e-6)
    assert rig.reads == [VERSION.digest] * 2


async def test_the_memory_of_experts_counts(rig: Rig) -> None:
    """A gated file takes its size beside a slot; the adapters of keys take a slot each."""
    await rig.use(VERSION)
    assert rig.cache.used_bytes == len(FILE) + rig.slot_bytes
    await rig.use(VERSION, 5)
    assert rig.cache.used_bytes == len(FILE) + 2 * rig.slot_bytes
    with rig.cache.pin(VERSION.adapter) as resident:
        assert isinstance(resident.experts, HostExperts)
        assert resident.experts.num_bytes <= len(FILE) + rig.slot_bytes
    with rig.cache.pin(VERSION.adapter, 5) as resident:
        assert resident.experts is None


async def test_a_flood_of_keys_evicts_keys_first(rig: Rig) -> None:
    """Beyond half of the memory a further key takes the place of the least recently used one, not of another task."""
    await rig.use(VERSION)
    for version in PLAIN[:3]:
        await rig.use(version)
    for row in [*range(NUM_KEYS)] * 2:
        await rig.use(VERSION, row)
    assert all(rig.cache.is_resident(version.digest) for version in (VERSION, *PLAIN[:3]))
    assert rig.resident_rows() == set(range(NUM_KEYS - 5, NUM_KEYS))
    num_reads = len(rig.reads)
    for version in PLAIN[:3]:
        await rig.use(version)
    assert len(rig.reads) == num_reads


async def test_keys_use_memory_that_is_free(rig: Rig) -> None:
    """While no other adapter wants it, the keys take all of the memory; another adapter then evicts the oldest."""
    await rig.use(VERSION)
    for row in range(8):
        await rig.use(VERSION, row)
    assert rig.resident_rows() == set(range(8))
    for number, version in enumerate(PLAIN[:4]):
        await rig.use(VERSION)
        await rig.use(version)
        assert rig.resident_rows() == set(range(number + 1, 8))


async def test_keys_in_use_may_take_more_than_half(rig: Rig) -> None:
    """If all keys in memory are pinned, another task's idle adapter makes room: a request never waits for a share."""
    for version in (*PLAIN[:3], VERSION):
        await rig.use(version)
    pins = [rig.cache.pin(VERSION.adapter, row) for row in range(7)]
    for pin in pins:
        await pin.__enter__().wait_slot()
    assert rig.resident_rows() == set(range(7))
    assert [rig.cache.is_resident(version.digest) for version in PLAIN[:3]] == [False, False, True]
    for pin in pins:
        pin.__exit__(None, None, None)
    await rig.use(PLAIN[0])
    assert rig.cache.is_resident(PLAIN[0].digest)


async def test_unpublished_keys_leave_with_their_file(rig: Rig) -> None:
    """When the version is deleted, the adapters of its keys go as well, pinned ones at their last unpin."""
    await rig.use(VERSION)
    await rig.use(VERSION, 1)
    with rig.cache.pin(VERSION.adapter, 2) as resident:
        await resident.wait_slot()
        rig.cache.on_registry_change({PLAIN[0].digest})
        assert rig.resident_rows() == set()
        assert rig.cache.used_bytes == rig.slot_bytes
    assert rig.cache.used_bytes == 0


async def test_a_key_whose_merge_fails_fails_alone(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is repeated for that key only, for RETRY_S, and its memory is given back."""
    await rig.use(VERSION)
    merge = rig.writer.merge

    async def broken(experts: object, row: int | None) -> object:
        if row == 3:
            raise AdapterUnavailable("broken")
        return await merge(experts, row)  # type: ignore[arg-type]

    monkeypatch.setattr(rig.writer, "merge", broken)
    used = rig.cache.used_bytes
    for _ in range(3):
        with pytest.raises(AdapterUnavailable, match="broken"):
            await rig.use(VERSION, 3)
    assert rig.cache.used_bytes == used
    await rig.use(VERSION, 4)
    monkeypatch.setattr(rig.writer, "merge", merge)
    rig.clock.now += RETRY_S
    assert torch.allclose(await rig.use(VERSION, 3), alone(3), atol=1e-6)


async def test_many_keys_at_once_share_their_loads(rig: Rig) -> None:
    """Concurrent requests of one key share one merge and one slot."""

    async def slot_of(row: int) -> int:
        with rig.cache.pin(VERSION.adapter, row) as resident:
            return await resident.wait_slot()

    await rig.use(VERSION)
    slots = await asyncio.gather(*(slot_of(row) for row in range(6) for _ in range(10)))
    assert len(set(slots)) == 6


async def test_keys_that_wait_for_a_file_share_one_reading(rig: Rig) -> None:
    """If the file is not in memory, concurrent merges of many keys read it once; a failure is that of all of them."""
    await asyncio.gather(*(rig.use(VERSION, row) for row in range(6)))
    assert rig.reads == [VERSION.digest]
    await rig.unpublish()
    rig.stored.clear()
    found = await asyncio.gather(*(rig.use(VERSION, row) for row in range(6)), return_exceptions=True)
    assert [type(error) for error in found] == [KeyError] * 6
    assert rig.reads == [VERSION.digest] * 2
    assert rig.cache.used_bytes == 0


async def test_experts_are_freed_with_the_last_user(rig: Rig) -> None:
    """A file that is evicted and not kept in host memory leaves no tensors behind."""
    await rig.use(VERSION)
    assert len(rig.loader._experts) == 1
    await rig.unpublish()
    gc.collect()
    assert len(rig.loader._experts) == 0
