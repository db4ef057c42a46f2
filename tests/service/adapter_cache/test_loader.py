"""AdapterLoader: from the registry to the device."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
import torch

from adapters import checkpoint
from adapters.checkpoint import parse_trusted
from adapters.config import BackboneIdentity
from adapters.serving.bank import AdapterBank, SegmentRows
from adapters.serving.layout import HostAdapter
from service.adapter_cache.loader import MAX_READS, PUBLISHED_S, AdapterLoader
from service.engine.worker import AdapterWriter
from service.errors import AdapterUnavailable
from tests.support.factories import make_adapter_bytes, make_gated, make_gated_bytes, tiny_identity

FILES = [make_adapter_bytes(seed=seed, dtype=torch.float16) for seed in range(3)]
DIGESTS = [checkpoint.parse(data).digest for data in FILES]
SIZES = [HostAdapter.of(checkpoint.parse(data), torch.float32).num_bytes for data in FILES]


@contextmanager
def loading(
    bank: AdapterBank, read: Callable[[str], bytes], backbone: BackboneIdentity | None = None, **more: float
) -> Iterator[AdapterLoader]:
    """Loads into `bank`."""
    with (
        closing(AdapterWriter(bank, backbone or tiny_identity())) as writer,
        closing(AdapterLoader(read, writer, **more)) as loader,
    ):
        yield loader


@pytest.fixture
def bank() -> AdapterBank:
    return AdapterBank(32, "cpu", torch.float32)


@pytest.fixture
def stored() -> dict[str, bytes]:
    return dict(zip(DIGESTS, FILES, strict=True))


@pytest.fixture
def loader(bank: AdapterBank, stored: dict[str, bytes]) -> Iterator[AdapterLoader]:
    with loading(bank, stored.__getitem__) as loader:
        yield loader


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_second_reading_gives_the_same(dtype: torch.dtype) -> None:
    """An adapter read without the checks is the one read with them, to the bit."""
    data = make_adapter_bytes(labels=("a", "b", "c"), layers=(1,), dtype=dtype)
    first = checkpoint.parse(data)
    second = parse_trusted(data, first.digest)
    assert second.metadata == first.metadata
    assert second.tensors.keys() == first.tensors.keys()
    for name, tensor in first.tensors.items():
        assert tensor.dtype == second.tensors[name].dtype
        assert torch.equal(tensor, second.tensors[name])


async def test_a_reload_serves_the_same_weights(bank: AdapterBank, loader: AdapterLoader) -> None:
    """After eviction an adapter comes back as it was."""
    h = torch.randn(3, 32)
    outcomes = []
    for slot in range(3):
        await loader.load(DIGESTS[0], slot)
        outcomes.append(bank.apply(0, h.clone(), [SegmentRows(slot, 0, 3)]))
    assert torch.equal(outcomes[0], outcomes[1])
    assert torch.equal(outcomes[0], outcomes[2])


async def test_a_gated_file_is_loaded_with_its_mean_gate(bank: AdapterBank, stored: dict[str, bytes]) -> None:
    """A request without a key gets the mean gate, whether the file was checked here or not."""
    gated = make_gated(seed=9)
    stored[gated.digest] = make_gated_bytes(seed=9)
    h = torch.randn(3, 32)
    expected = h.clone()
    bank.put(0, bank.lay_out(gated.merge(None)))
    bank.apply(0, expected, [SegmentRows(0, 0, 3)])
    with loading(bank, stored.__getitem__) as loader:
        for slot in (1, 2):
            await loader.load(gated.digest, slot)
            assert torch.equal(bank.apply(0, h.clone(), [SegmentRows(slot, 0, 3)]), expected)
    assert not torch.equal(expected, h)


async def test_adapters_that_come_back_are_read_from_memory(bank: AdapterBank, stored: dict[str, bytes]) -> None:
    """The first two loads read the registry, later ones take the adapter that the second one has kept, until it is
    unpublished or others need the memory."""
    reads: list[str] = []

    def read(digest: str) -> bytes:
        reads.append(digest)
        return stored[digest]

    with loading(bank, read, host_memory_bytes=SIZES[0] + SIZES[1]) as loader:

        async def load(*numbers: int) -> list[int]:
            reads.clear()
            for number in numbers:
                await loader.load(DIGESTS[number], number)
                assert bank.task(number) == checkpoint.parse(FILES[number]).metadata.task
            return [DIGESTS.index(digest) for digest in reads]

        assert await load(0, 1, 2) == [0, 1, 2]
        assert loader.host.num_bytes == 0
        assert await load(0, 0, 1) == [0, 1]
        assert loader.host.num_bytes == SIZES[0] + SIZES[1]
        assert await load(1, 0, 1, 0) == []
        assert await load(2) == [2]  # 1 was loaded longest ago
        assert await load(0, 2, 1) == [1]
        loader.on_registry_change({DIGESTS[1]})
        assert loader.host.num_bytes == SIZES[1]
        assert await load(1, 2, 2, 2) == [2, 2]


async def test_an_adapter_larger_than_the_memory_is_not_kept(bank: AdapterBank, stored: dict[str, bytes]) -> None:
    """It drops no other file."""
    with loading(bank, stored.__getitem__, host_memory_bytes=SIZES[0]) as loader:
        stored["larger"] = make_adapter_bytes(labels=tuple("abcdefgh"), dtype=torch.float32)
        for digest in (DIGESTS[0], DIGESTS[0], "larger", "larger"):
            await loader.load(digest, 0)
        assert loader.host.find(DIGESTS[0]) is not None
        assert loader.host.find("larger") is None


async def test_only_what_was_checked_here_is_read_without_checks(
    loader: AdapterLoader, monkeypatch: pytest.MonkeyPatch, stored: dict[str, bytes]
) -> None:
    """Each file is checked once, and again if it was unpublished in between."""
    checked = []
    real = checkpoint.parse
    monkeypatch.setattr(checkpoint, "parse", lambda data, *more: checked.append(data) or real(data, *more))
    for digest in [DIGESTS[0], DIGESTS[0], DIGESTS[1], DIGESTS[1]]:
        await loader.load(digest, 0)
    assert checked == FILES[:2]
    loader.on_registry_change({DIGESTS[1]})
    for digest in [DIGESTS[0], DIGESTS[1]]:
        await loader.load(digest, 0)
    assert checked == [*FILES[:2], FILES[0]]


async def test_an_accepted_file_may_wait_for_its_publication(
    loader: AdapterLoader, monkeypatch: pytest.MonkeyPatch, stored: dict[str, bytes]
) -> None:
    """It is loaded from the offered bytes without checks; after its publication, or PUBLISHED_S, it is forgotten."""
    monkeypatch.setattr(checkpoint, "parse", lambda *arguments: pytest.fail("checked twice"))
    stored.clear()
    now = time.monotonic()
    monkeypatch.setattr("service.adapter_cache.loader.time.monotonic", lambda: now)
    for digest in DIGESTS[:2]:
        loader.accept(digest)
    with loader.offer(DIGESTS[0], FILES[0]):
        await loader.load(DIGESTS[0], 0)
    with pytest.raises(KeyError):
        await loader.load(DIGESTS[0], 1)
    assert loader.expected({"other"}) == {DIGESTS[0], DIGESTS[1]}
    assert loader.expected({DIGESTS[0]}) == {DIGESTS[1]}
    assert loader.expected(set()) == {DIGESTS[1]}
    now += PUBLISHED_S
    assert loader.expected(set()) == set()


async def test_an_adapter_of_another_backbone_is_refused(bank: AdapterBank, stored: dict[str, bytes]) -> None:
    """However often it is tried: what has failed the checks is not taken for checked."""
    other = tiny_identity().model_copy(update={"weights_sha256": "f" * 64})
    with loading(bank, stored.__getitem__, other) as loader:
        for _ in range(2):
            with pytest.raises(AdapterUnavailable, match="made for backbone"):
                await loader.load(DIGESTS[0], 0)
    with pytest.raises(KeyError):
        bank.task(0)


async def test_a_read_has_a_limit_in_time(bank: AdapterBank) -> None:
    """A registry that does not answer is an error in the end; the slot stays empty, also when it answers later."""
    gate = threading.Event()

    def hang(digest: str) -> bytes:
        gate.wait(10)
        return FILES[0]

    with loading(bank, hang, read_timeout_s=0.01) as loader:
        with pytest.raises(AdapterUnavailable, match=r"within 0\.01 s"):
            await loader.load(DIGESTS[0], 0)
        gate.set()
    with pytest.raises(KeyError):
        bank.task(0)


async def test_reads_that_hang_hold_up_no_other(bank: AdapterBank, stored: dict[str, bytes]) -> None:
    """An adapter is loaded while nearly all readers hang."""
    gate = threading.Event()

    def read(digest: str) -> bytes:
        if digest == DIGESTS[0]:
            gate.wait(10)
        return stored[digest]

    with loading(bank, read) as loader:
        hanging = [asyncio.create_task(loader.load(DIGESTS[0], slot)) for slot in range(MAX_READS - 1)]
        await asyncio.sleep(0)
        await loader.load(DIGESTS[1], MAX_READS)
        assert not any(task.done() for task in hanging)
        gate.set()
        await asyncio.gather(*hanging)
    assert bank.task(MAX_READS) == checkpoint.parse(FILES[1]).metadata.task
