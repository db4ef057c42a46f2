"""The engine side of a server on a fake engine, and any number of HTTP processes that ask it, in one event loop."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np

from adapters.serving.batch import BatchTokens
from service.adapter_cache.cache import AdapterCache
from service.adapter_cache.loader import AdapterLoader
from service.core import AdapterRef, CheckedUpload
from service.dispatch.client import RemoteDispatcher
from service.dispatch.dispatcher import EngineInfo
from service.dispatch.label_counts import LabelCounts
from service.dispatch.load_page import LoadPage
from service.engine.backend import EngineBackend
from service.engine_process import server as server_module
from service.engine_process.local import EngineParts, LocalDispatcher
from service.engine_process.server import DispatchServer
from service.errors import ServiceError
from service.observability.metrics import Metrics
from service.publishing.checker import Checker
from service.registry import Follower
from service.scheduling.admission import Admission, Bounds
from service.scheduling.scheduler import Scheduler
from service.scheduling.throughput import ThroughputEstimator
from tests.support.scheduling import BOUNDS, marks

FAR = 1e9  # a deadline, in seconds of the clock
INFO = EngineInfo("cpu", "float32")


def ref(name: str) -> AdapterRef:
    """An adapter of one byte, whose task, digest and label have that name."""
    return AdapterRef(name, 1, name, "single_label", 1, 1)


def not_expected(error: ServiceError) -> None:
    """Stand for the `refused` of a ticket that must not be refused."""
    raise AssertionError(error)


class Engine:
    """Answers each input with its first token id, once `open` is set."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.computed: list[int] = []  # the first token ids of all inputs
        self.cleared: list[int] = []
        self.error: Exception | None = None
        self.cache: AdapterCache

    def num_bytes(self, num_parameters: int, num_outputs: int) -> int:
        return num_parameters

    def clear(self, slot: int) -> None:
        self.cleared.append(slot)

    async def prepare(self, batch: BatchTokens) -> BatchTokens:
        return batch

    async def compute(self, batch: BatchTokens) -> list[np.ndarray]:
        assert not set(batch.slots) & set(self.cleared), "a slot was cleared before its batch"
        self.computed += marks(batch)
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return np.split(np.array(marks(batch), dtype=np.float32)[:, None], np.cumsum(batch.num_inputs)[:-1])


@dataclass
class Registry:
    """Stands for loader, follower and checker; `read` is called by every HTTP process that follows."""

    broken: dict[str, Exception] = field(default_factory=dict)  # by digest: the error of its load
    checked: list[str] = field(default_factory=list)
    offered: list[tuple[str, bytes]] = field(default_factory=list)  # files that were loaded unpublished
    files: list[Path] = field(default_factory=list)
    may_load: asyncio.Event = field(default_factory=asyncio.Event)
    may_check: asyncio.Event = field(default_factory=asyncio.Event)
    num_reads: int = 0

    def __post_init__(self) -> None:
        self.may_load.set()
        self.may_check.set()

    async def load(self, digest: str, slot: int, *_: object) -> None:
        await self.may_load.wait()
        if digest in self.broken:
            raise self.broken[digest]

    def accept(self, digest: str) -> None:
        self.checked.append(digest)

    @contextmanager
    def offer(self, digest: str, data: bytes) -> Iterator[None]:
        self.offered.append((digest, data))
        yield

    async def refresh(self) -> None:
        self.num_reads += 1

    async def check(self, path: Path) -> CheckedUpload:
        self.files.append(path)
        data = await asyncio.to_thread(path.read_text)
        await self.may_check.wait()
        return CheckedUpload(b"", "digest", data, 1, 1)


class Rig:
    """An engine side that listens, and the HTTP processes that have connected."""

    def __init__(self, folder: Path, bounds: Bounds, memory_bytes: int, max_uploads: int) -> None:
        self.folder, self.bounds = folder, bounds
        self.engine, self.registry, self.metrics = Engine(), Registry(), Metrics()
        throughput = ThroughputEstimator(max_batch_tokens=512, target_batch_s=1e9)
        self.throughput = throughput
        self.weights: dict[str, float] = {}
        self.admission = Admission(bounds, throughput, weight=self.weight)
        engine = cast(EngineBackend, self.engine)
        self.cache = self.engine.cache = AdapterCache(engine, self.registry.load, memory_bytes, self.metrics)
        self.scheduler = Scheduler(
            engine, self.admission, throughput, self.metrics, pin_batch=self.cache.pin_batch, weight=self.weight
        )
        self.label_counts = LabelCounts()
        parts = EngineParts(
            self.admission,
            self.cache,
            cast(AdapterLoader, self.registry),
            self.scheduler,
            throughput,
            self.label_counts,
            cast(Checker, self.registry),
            cast(Follower, self.registry),
            max_uploads,
        )
        self.local = LocalDispatcher(INFO, parts)
        self.server = DispatchServer(self.local, LoadPage.create(folder / "load"))
        self.clients: list[RemoteDispatcher] = []

    def weight(self, task: str) -> float:
        return self.weights.get(task, 1.0)

    async def connect(self, follow: Callable[[], object] | None = None) -> RemoteDispatcher:
        """Add an HTTP process; `follow` may return something to await."""

        async def read() -> None:
            result = follow() if follow is not None else None
            if asyncio.iscoroutine(result) or asyncio.isfuture(result):
                await result

        page = LoadPage.attach(self.folder / "load")
        client = RemoteDispatcher(INFO, self.folder, page, self.bounds, follow=read, weight=self.weight)
        await client.connect(self.folder / "engine")
        self.clients.append(client)
        await self.settle(client)
        return client

    async def settle(self, *clients: RemoteDispatcher) -> None:
        """Wait until the engine side has handled all that these clients (all) have sent, and shows its load."""
        for client in clients or self.clients:
            if not client.died.is_set():
                await client.label_counts([])
        for _ in range(10):
            await asyncio.sleep(0)

    @property
    def num_pins(self) -> int:
        """Pins of all adapters."""
        return sum(one.num_pins for one in self.cache._residency._staying.values())

    def assert_empty(self) -> None:
        """No request holds anything, here or in a client."""
        assert (self.admission.num_requests, self.admission.num_tokens, self.admission._held) == (0, 0, {})
        assert self.num_pins == 0
        assert not self.scheduler._requests
        assert len(self.scheduler._queue) == 0
        assert self.local.num_uploads == 0
        for peer in self.server._peers:
            assert not peer._tickets
            assert not peer._calls
            assert not peer._follows
            assert not peer._uploads
        for client in self.clients:
            assert not client._tickets
            assert not client._calls
            assert not client._following


@asynccontextmanager
async def rig(bounds: Bounds = BOUNDS, *, memory_bytes: int = 100, max_uploads: int = 2) -> AsyncIterator[Rig]:
    """Yield an engine side that serves; the load page is written at once after each change."""
    before, server_module.PUBLISH_S = server_module.PUBLISH_S, 0.0
    try:
        with tempfile.TemporaryDirectory(prefix="dispatching-") as name:
            made = Rig(Path(name), bounds, memory_bytes, max_uploads)
            made.scheduler.start()
            listening = await asyncio.get_running_loop().create_unix_server(made.server.accept, f"{name}/engine")
            try:
                yield made
            finally:
                await close(made.clients)
                listening.close()
                await made.scheduler.stop()
                await made.cache.close()
                made.metrics.close()
    finally:
        server_module.PUBLISH_S = before


async def close(clients: Iterable[RemoteDispatcher]) -> None:
    """End these connections, and wait until both ends know."""
    for client in clients:
        client.close()
        await client.died.wait()
    for _ in range(20):
        await asyncio.sleep(0)
