"""AdapterCache against its slow reference, on the sequences of steps that hypothesis generates."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.adapter_cache import residency
from service.adapter_cache.cache import RETRY_S, AdapterCache
from service.adapter_cache.residency import FRESH_S
from service.core import PublishedVersion
from service.errors import AdapterUnavailable
from service.observability.metrics import Metrics
from tests.support.factories import make_adapter
from tests.support.reference_cache import Entry, ReferenceCache
from tests.support.shelf import Clock, make_version

SIZES = (1, 1, 2, 2, 3, 5)
MEMORY = 5
TEMPLATE = make_version("t", make_adapter(), 1)
NUMBERS = st.integers(0, 9)
ASK = st.tuples(st.sampled_from(["ask", "ask", "warm"]), st.integers(0, len(SIZES) - 1))
STEPS = st.one_of(
    ASK,
    st.tuples(st.just("end"), NUMBERS),
    st.tuples(st.just("loaded"), NUMBERS),
    st.tuples(st.just("broken"), NUMBERS),
    st.tuples(st.just("wait"), st.sampled_from([RETRY_S, FRESH_S])),
)
MORE_STEPS = st.one_of(
    STEPS,
    st.tuples(st.just("batch"), NUMBERS),
    st.tuples(st.just("end batch"), NUMBERS),
    st.tuples(st.just("unpublish"), st.integers(0, len(SIZES) - 1)),
)


class CountingBank:
    """An engine that only counts: which adapter is in which slot."""

    def __init__(self) -> None:
        self.slots: dict[int, int] = {}  # slot: adapter

    def num_bytes(self, num_parameters: int, num_outputs: int) -> int:
        return num_parameters

    def clear(self, slot: int) -> None:
        del self.slots[slot]


@dataclass(eq=False)
class Asking:
    """One request, on both sides."""

    adapter: int
    entry: Entry | None
    uses: bool
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    slot: int | None = None
    task: asyncio.Task[None] | None = None


class World:
    """AdapterCache, its reference, and what both were asked."""

    def __init__(self) -> None:
        self.bank, self.clock = CountingBank(), Clock()
        self.cache = AdapterCache(self.bank, self.load, MEMORY, Metrics(), clock=self.clock)  # type: ignore[arg-type]
        self.reference = ReferenceCache(MEMORY, FRESH_S, RETRY_S, self.clock.now)
        self.versions = [_version(index, size) for index, size in enumerate(SIZES)]
        self.pending: list[tuple[int, asyncio.Future[bool]]] = []  # loads that run
        self.loads: list[int] = []
        self.asking: list[Asking] = []
        self.batches: list[tuple[object, int]] = []
        self.published = set(range(len(SIZES)))

    async def load(self, digest: str, slot: int, *_: object) -> None:
        adapter, good = int(digest), asyncio.get_running_loop().create_future()
        self.loads.append(adapter)
        self.pending.append((adapter, good))
        if not await good:
            raise AdapterUnavailable("broken")
        self.bank.slots[slot] = adapter

    async def step(self, what: str, number: float) -> None:
        if what in ("ask", "warm"):
            await self.ask(int(number), uses=what == "ask")
        elif what == "end" and self.asking:
            self.end(self.asking.pop(int(number) % len(self.asking)))
        elif what in ("loaded", "broken") and self.pending:
            adapter, future = self.pending.pop(int(number) % len(self.pending))
            future.set_result(what == "loaded")
            loading = [entry for entry in self.reference.by_use if entry.state == "loading"]
            for entry in [entry for entry in loading if entry.adapter == adapter][:1]:
                self.reference.end_load(entry, good=what == "loaded")
        elif what == "wait":
            self.clock.now += number
            self.reference.now = self.clock.now
        elif what == "batch":
            self.begin_batch(int(number))
        elif what == "end batch" and self.batches:
            self.batches.pop(int(number) % len(self.batches))[0].__exit__(None, None, None)  # type: ignore[attr-defined]
        elif what == "unpublish":
            self.published ^= {int(number)}
            self.cache.on_registry_change({str(adapter) for adapter in self.published})
        await settle()

    async def ask(self, adapter: int, *, uses: bool) -> None:
        asking = Asking(adapter, self.reference.ask(adapter, SIZES[adapter], retry=not uses), uses)
        asking.task = asyncio.create_task(self.request(asking))
        await settle()
        if not asking.task.done():
            self.asking.append(asking)

    async def request(self, asking: Asking) -> None:
        with (
            suppress(AdapterUnavailable),
            self.cache.pin(self.versions[asking.adapter].adapter, retry=not asking.uses) as resident,
        ):
            if asking.uses:
                asking.slot = await resident.wait_slot()
                if asking.entry is not None:
                    asking.entry.fresh_until = 0.0
            else:
                await resident.wait_loaded()
            await asking.let_go.wait()
            asking.slot = None

    def end(self, asking: Asking) -> None:
        """End the request: it unpins its adapter, or its client leaves while it waits."""
        assert asking.task is not None
        asking.let_go.set()
        asking.task.cancel()
        asking.slot = None
        if asking.entry is not None:
            self.reference.let_go(asking.entry)

    def begin_batch(self, number: int) -> None:
        with_slot = [asking for asking in self.asking if asking.slot is not None]
        if with_slot:
            asking = with_slot[number % len(with_slot)]
            assert asking.slot is not None
            batch = self.cache.pin_batch([asking.slot])
            batch.__enter__()
            self.batches.append((batch, asking.slot))

    def check(self) -> None:
        """Check the invariants that hold after every step."""
        assert self.cache.used_bytes <= MEMORY
        loading = sum(SIZES[adapter] for adapter, _ in self.pending)
        assert self.cache.used_bytes == loading + sum(SIZES[adapter] for adapter in self.bank.slots.values())
        for asking in self.asking:
            assert asking.slot is None or self.bank.slots[asking.slot] == asking.adapter
        assert all(slot in self.bank.slots for _, slot in self.batches)

    async def end_all(self) -> None:
        """End all requests, batches and loads: only idle adapters may be left."""
        while self.asking:
            await self.step("end", 0)
        while self.batches:
            await self.step("end batch", 0)
        while self.pending:
            await self.step("loaded", 0)
        for adapter in range(len(SIZES)):
            self.clock.now += RETRY_S
            asking = Asking(adapter, None, uses=True)
            asking.task = asyncio.create_task(self.request(asking))
            await settle()
            while self.pending:
                self.pending.pop()[1].set_result(True)
                await settle()
            assert asking.slot is not None
            assert self.bank.slots[asking.slot] == adapter
            self.end(asking)
            await settle()
            self.check()
        await self.cache.close()


def _version(index: int, size: int) -> PublishedVersion:
    values = {name: getattr(TEMPLATE, name) for name in TEMPLATE.__dataclass_fields__}
    return PublishedVersion(**values | {"digest": str(index), "num_parameters": size})


async def settle() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_the_cache_follows_the_rules(steps: list[tuple[str, float]]) -> None:
    """Residents, loads and their order equal the slow reference's at every step."""

    async def run() -> None:
        world = World()
        for what, number in steps:
            await world.step(what, number)
            world.check()
            reference = world.reference
            assert world.loads == reference.loads
            assert all(asking.entry for asking in world.asking)
            assert world.cache.used_bytes == reference.used_bytes()
            resident = {entry.adapter for entry in reference.by_use}
            assert {index for index in range(len(SIZES)) if world.cache.is_resident(str(index))} == resident
            in_use = [asking for asking in world.asking if asking.entry and asking.entry.state == "ready"]
            assert not reference.waiting or world.pending or in_use
        await world.end_all()

    asyncio.run(run())


@settings(max_examples=200, deadline=None)
@given(st.lists(MORE_STEPS, max_size=80), st.sampled_from([1, 3]))
def test_the_cache_keeps_its_promises(steps: list[tuple[str, float]], overtakes: int) -> None:
    """The cache never exceeds its memory, never changes a slot in use, and leaves nothing behind."""

    async def run() -> None:
        world = World()
        for what, number in steps:
            await world.step(what, number)
            world.check()
        await world.end_all()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(residency, "MAX_OVERTAKES", overtakes)
        asyncio.run(run())
