"""200 users of one task, under swaps of its version and evictions, through the process boundary: no wrong adapter."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from adapters import checkpoint
from adapters.adapter import Adapter
from adapters.backbone.source import LoadedBackbone
from adapters.config import GATE_KEYS, GATE_MEAN, GATE_TABLE
from adapters.gates import GatedAdapter
from adapters.serving.inference import forward_encodings, to_model
from service.core import PublishedVersion
from service.dispatch.client import RemoteDispatcher
from service.dispatch.dispatcher import Dispatcher
from service.dispatch.load_page import LoadPage
from service.engine.worker import EngineWorker
from service.engine_process.assemble import bounds_of, engine_side
from service.engine_process.local import LocalDispatcher
from service.engine_process.server import DispatchServer
from service.errors import AdapterUnavailable
from service.observability.metrics import Metrics
from service.publishing.checks import check_upload
from service.registry import Registry
from tests.support.dispatching import FAR, not_expected
from tests.support.factories import make_adapter, make_adapter_bytes, make_gated, make_gated_bytes
from tests.support.invariance import BATCH_TOLERANCE
from tests.support.serving import settings_for

USERS = [f"user-{number}" for number in range(200)]
STRANGERS = [f"stranger-{number}" for number in range(20)]
NUM_FILES, NUM_PLAIN, NUM_ROOMS = 4, 6, 40
NUM_REQUESTS, NUM_CLIENTS = 1500, 30
TEXTS = ["a good film", "the plot is dull and the actor is bad", "?"]


@dataclass
class Server:
    """An engine side with one HTTP process's dispatcher."""

    local: LocalDispatcher
    remote: RemoteDispatcher
    registry: Registry
    metrics: Metrics

    def num_evictions(self) -> int:
        """Return how many adapters were evicted since the start."""
        counter = self.metrics.adapter_evictions
        return int(counter._cells[counter._index])


@asynccontextmanager
async def serving(tiny: LoadedBackbone, folder: Path, memory_bytes: int) -> AsyncIterator[Server]:
    memory = max(memory_bytes, 1 << 20)  # the least of the setting
    config = settings_for(folder, adapter_memory_bytes=memory, max_predicted_latency_s=60, registry_poll_s=60)
    metrics, engine = Metrics(), EngineWorker(tiny, config)
    with closing(Registry.open(config.resolved_registry_url)) as registry:
        async with engine_side(config, tiny.source, engine, registry, metrics) as local:
            local.parts.adapter_cache._residency.memory_bytes = memory_bytes
            server = DispatchServer(local, LoadPage.create(folder / "load"))
            listening = await asyncio.get_running_loop().create_unix_server(server.accept, str(folder / "engine"))
            follower = local.parts.follower
            remote = RemoteDispatcher(
                local.engine,
                folder,
                LoadPage.attach(folder / "load"),
                bounds_of(config),
                follow=follower.refresh,
                weight=follower.snapshot.weight,
            )
            await remote.connect(folder / "engine")
            try:
                yield Server(local, remote, registry, metrics)
            finally:
                remote.close()
                await remote.died.wait()
                listening.close()


async def ask(
    dispatcher: Dispatcher, loaded: LoadedBackbone, version: PublishedVersion, text: str, user: str | None = None
) -> tuple[np.ndarray, bool]:
    """Return the logits, and whether the user's own gate was used."""
    (encoding,) = loaded.encoder.encode([text], max_length=64)
    key = None if version.gates is None or user is None else version.gates.digest(user)
    ticket = dispatcher.open(version.task, FAR, not_expected)
    try:
        ticket.reserve(64)
        ticket.load(version.adapter_of(key))
        await asyncio.sleep(0)
        logits = await ticket.compute(version.adapter_of(key), [encoding])
        return logits[0], ticket.has_own_gate
    finally:
        ticket.close()


def alone(tiny: LoadedBackbone, adapter: Adapter) -> np.ndarray:
    """Return the logits [texts, outputs] of TEXTS."""
    return forward_encodings(to_model(tiny, adapter), tiny.encoder.encode(TEXTS, max_length=64))


def distinct_file(tiny: LoadedBackbone, seed: int) -> bytes:
    """Return a gated file whose keys' adapters differ by more than the last bits: its weights are large."""
    gated = make_gated(identity=tiny.identity, keys=USERS, seed=seed)
    gates = {
        GATE_KEYS: torch.from_numpy(gated.gates.digests),
        GATE_TABLE: gated.gates.table,
        GATE_MEAN: gated.gates.mean,
    }
    return checkpoint.serialize(gated.metadata, {name: 8 * tensor for name, tensor in gated.tensors.items()} | gates)


async def test_no_answer_comes_from_another_users_adapter(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """1,500 answers for 200 users, strangers and other tasks, while versions are swapped and nearly every request
    evicts: each is that of its own version and key, and says truly which gate it used."""
    files = [distinct_file(tiny, seed) for seed in range(NUM_FILES)]
    gated = [file for file in map(checkpoint.parse, files) if isinstance(file, GatedAdapter)]
    plain = [make_adapter_bytes(identity=tiny.identity, seed=100 + seed) for seed in range(NUM_PLAIN)]
    expected = {
        (one.digest, row): alone(tiny, one.merge(row)) for one in gated for row in [None, *range(len(USERS))]
    } | {
        (one.digest, None): alone(tiny, one)
        for one in (make_adapter(identity=tiny.identity, seed=100 + seed) for seed in range(NUM_PLAIN))
    }
    tolerance = BATCH_TOLERANCE["cpu", tiny.backbone.dtype]
    answers = np.stack(list(expected.values()))
    closest = min(np.abs(answers[at + 1 :] - answers[at]).max(axis=(1, 2)).min() for at in range(len(answers) - 1))
    assert closest > 3 * tolerance, "two adapters answer alike: the test could not tell them apart"
    slot_bytes = 4 * (gated[0].metadata.num_parameters + 2 * 33)
    wrong: list[tuple[str, str | None]] = []
    draw = random.Random(7)
    async with serving(tiny, tmp_path, 2 * len(files[0]) + NUM_ROOMS * slot_bytes) as server:
        follower = server.local.parts.follower
        for number, data in enumerate(plain):
            server.registry.publish(f"plain-{number}", check_upload(data, tiny))
        uploads = [check_upload(data, tiny) for data in files]
        server.registry.publish("by-user", uploads[0])
        await follower.refresh()

        async def swap() -> None:
            while True:
                await asyncio.sleep(0.05)
                await asyncio.to_thread(server.registry.publish, "by-user", draw.choice(uploads))
                await follower.refresh()

        tickets = iter(range(NUM_REQUESTS))

        async def client() -> None:
            for _ in tickets:
                at = draw.randrange(len(TEXTS))
                user = draw.choice([*USERS, *STRANGERS, None])
                task = f"plain-{draw.randrange(NUM_PLAIN)}" if draw.random() < 0.2 else "by-user"
                version = follower.snapshot.resolve(task)
                logits, is_own = await ask(server.remote, tiny, version, TEXTS[at], user)
                row = None
                if version.gates is not None and user is not None:
                    one = next(one for one in gated if one.digest == version.digest)
                    row = one.gates.find(version.gates.digest(user))
                right = expected[version.digest, row][at]
                if is_own != (row is not None) or not np.allclose(logits, right, rtol=tolerance, atol=tolerance):
                    wrong.append((version.digest, user))

        swapping = asyncio.create_task(swap())
        await asyncio.gather(*(client() for _ in range(NUM_CLIENTS)))
        swapping.cancel()
        num_evictions = server.num_evictions()
        assert server.local.parts.admission.num_tokens == 0
    assert wrong == []
    assert num_evictions > 500


async def test_a_key_waits_for_its_file(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """Requests for keys of a version that is not loaded share one reading of its file, and each gets its own gate."""
    data, gated = (make(identity=tiny.identity, keys=USERS) for make in (make_gated_bytes, make_gated))
    assert isinstance(gated, GatedAdapter)
    async with serving(tiny, tmp_path, 1 << 24) as server:
        version = server.registry.publish("by-user", check_upload(data, tiny)).version  # type: ignore[arg-type]
        reads: list[str] = []
        read = server.local.parts.loader._read_file
        server.local.parts.loader._read_file = lambda digest: reads.append(digest) or read(digest)  # type: ignore[func-returns-value]
        found = await asyncio.gather(*(ask(server.remote, tiny, version, TEXTS[0], user) for user in USERS[:50]))
        assert len(reads) == 1
        for user, (logits, is_own) in zip(USERS, found, strict=False):
            assert is_own
            right = alone(tiny, gated.merge(gated.gates.find(gated.gates.config.digest(user))))[0]
            assert np.allclose(logits, right, rtol=1e-5, atol=1e-5)


async def test_a_file_that_cannot_be_read_fails_its_requests_only(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """Every waiting request for one of its keys gets the error; nothing stays pinned, and the file is tried again."""
    data = make_gated_bytes(identity=tiny.identity, keys=USERS)
    async with serving(tiny, tmp_path, 1 << 24) as server:
        version = server.registry.publish("by-user", check_upload(data, tiny)).version
        loader, cache = server.local.parts.loader, server.local.parts.adapter_cache
        read = loader._read_file

        def fail(digest: str) -> bytes:
            raise AdapterUnavailable("broken")

        loader._read_file = fail
        asking = (ask(server.remote, tiny, version, TEXTS[0], user) for user in USERS[:20])
        for error in await asyncio.gather(*asking, return_exceptions=True):
            assert isinstance(error, AdapterUnavailable)
        assert cache.used_bytes == 0
        assert server.local.parts.admission.num_requests == 0
        loader._read_file = read
        cache.on_registry_change({version.digest})
        assert (await ask(server.remote, tiny, version, TEXTS[0], USERS[0]))[1]


@pytest.mark.parametrize("turns", range(0, 12))
async def test_a_request_that_leaves_gives_all_pins_back(tiny: LoadedBackbone, tmp_path: Path, turns: int) -> None:
    """Whenever a client leaves while its file is read or its key is merged, no pin and no permit stays behind."""
    data = make_gated_bytes(identity=tiny.identity, keys=USERS)
    async with serving(tiny, tmp_path, 1 << 24) as server:
        version = server.registry.publish("by-user", check_upload(data, tiny)).version
        asking = asyncio.create_task(ask(server.local, tiny, version, TEXTS[0], USERS[turns]))
        for _ in range(turns):
            await asyncio.sleep(0.001 if turns > 8 else 0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        for _ in range(200):
            residents = server.local.parts.adapter_cache._residency._by_slot.values()
            if all(resident.state == "ready" and resident.num_pins == 0 for resident in residents):
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("an adapter stays pinned")
        assert server.local.parts.admission.num_requests == 0


async def test_a_flood_of_users_leaves_other_tasks_loaded(tiny: LoadedBackbone, tmp_path: Path) -> None:
    """200 users, over and over, evict each other: no adapter of another task is read from the registry again."""
    data = make_gated_bytes(identity=tiny.identity, keys=USERS)
    plain = [make_adapter_bytes(identity=tiny.identity, seed=100 + seed) for seed in range(NUM_PLAIN)]
    slot_bytes = 4 * (make_gated(identity=tiny.identity).metadata.num_parameters + 2 * 33)
    async with serving(tiny, tmp_path, len(data) + 32 * slot_bytes) as server:
        by_user = server.registry.publish("by-user", check_upload(data, tiny)).version
        others = [
            server.registry.publish(f"plain-{number}", check_upload(data, tiny)).version
            for number, data in enumerate(plain)
        ]
        loader, cache = server.local.parts.loader, server.local.parts.adapter_cache
        read, reads = loader._read_file, list[str]()

        def counted(digest: str) -> bytes:
            reads.append(digest)
            return read(digest)

        loader._read_file = counted
        for version in others:
            await ask(server.remote, tiny, version, TEXTS[0])
        users = iter(USERS * 3)

        async def flood() -> None:
            for user in users:
                assert (await ask(server.remote, tiny, by_user, TEXTS[0], user))[1]

        await asyncio.gather(*(flood() for _ in range(8)))
        assert server.num_evictions() > 400
        assert all(cache.is_resident(version.digest) for version in others)
        for version in others:
            await ask(server.remote, tiny, version, TEXTS[0])
        assert sorted(reads) == sorted([by_user.digest, *(version.digest for version in others)])
