"""LocalDispatcher: a Dispatcher whose admission, scheduler, adapter cache and engine are in this process."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from adapters.backbone.text_encoder import Encoding
from service.adapter_cache.cache import AdapterCache
from service.adapter_cache.loader import AdapterLoader
from service.adapter_cache.residency import Resident
from service.core import AdapterRef, CheckedUpload, GatedRef, Permit, Progress, Request
from service.dispatch.dispatcher import Dispatcher, Ticket
from service.dispatch.engine_info import EngineInfo
from service.dispatch.label_counts import Counted, LabelCounts
from service.errors import AdapterUnavailable, Overloaded, ServiceError, UploadRefused
from service.publishing.checker import Checker
from service.registry import Follower
from service.scheduling.admission import Admission
from service.scheduling.scheduler import Scheduler
from service.scheduling.throughput import ThroughputEstimator

LOAD_S = 1.8  # in which the adapter of an upload gets memory; otherwise the upload is answered 503


@dataclass(frozen=True, eq=False)
class EngineParts:
    """The objects that a LocalDispatcher calls. Owned by the event loop."""

    admission: Admission
    adapter_cache: AdapterCache
    loader: AdapterLoader
    scheduler: Scheduler
    throughput: ThroughputEstimator
    label_counts: LabelCounts
    checker: Checker
    follower: Follower
    max_uploads: int


class LocalTicket(Ticket):
    """A Permit with the adapter that its request has pinned."""

    def __init__(self, parts: EngineParts, task: str, deadline: float, siblings: list["LocalTicket"]) -> None:
        self.task, self.progress, self.has_own_gate = task, Progress(), False
        self._parts, self._siblings = parts, siblings
        self._permit: Permit | None = parts.admission.admit(task, deadline, beside=self._num_tokens_beside())
        self._pins = ExitStack()
        self._resident: Resident | None = None
        self._needs_gate = False  # the resident is that of the mean gate until the file is loaded and names the key's
        self._done: asyncio.Future[np.ndarray] | None = None
        self._loading: asyncio.Task[None] | None = None
        self._request: Request | None = None
        siblings.append(self)

    @property
    def is_closed(self) -> bool:
        """Whether the permit was given back."""
        return self._permit is None

    @property
    def siblings(self) -> list["LocalTicket"]:
        """The tickets of the same request, this one included."""
        return self._siblings

    def reserve(self, most_tokens: int) -> None:
        self._parts.admission.reserve(self._held, most_tokens, beside=self._num_tokens_beside())

    async def granted(self) -> None:
        pass

    def load(self, adapter: AdapterRef) -> None:
        if self._resident is None:
            self._resident = self._pins.enter_context(self._parts.adapter_cache.pin(adapter))
            if isinstance(adapter, GatedRef) and adapter.key is not None:
                self._needs_gate = True
                if self._resident.is_loaded:
                    self._choose_gate(adapter, adapter.key)

    def _choose_gate(self, adapter: GatedRef, key: bytes) -> Resident:
        """Pin the adapter of `key` instead of the mean gate's, which is loaded, if the file has a gate for it."""
        assert self._resident is not None
        assert self._resident.experts is not None
        self._needs_gate, row = False, self._resident.experts.find(key)
        self.has_own_gate = row is not None
        if row is not None:
            with self._pins.pop_all():  # the mean gate's, once the other one is pinned
                self._resident = self._pins.enter_context(self._parts.adapter_cache.pin(adapter, row))
        return self._resident

    async def compute(self, adapter: AdapterRef, encodings: Sequence[Encoding]) -> np.ndarray:
        try:
            return await self.submit(adapter, encodings)
        finally:
            self._leave()

    def submit(self, adapter: AdapterRef, encodings: Sequence[Encoding]) -> asyncio.Future[np.ndarray]:
        """Return the future of what `compute` returns, without waiting; cancelling it abandons the inputs.

        Raises what AdapterCache.pin raises, and ShuttingDown.
        """
        self.load(adapter)
        resident = self._resident
        assert resident is not None
        self._parts.admission.set_num_tokens(self._held, sum(map(len, encodings)))
        done: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()
        self._done = done

        def finish(done: asyncio.Future[np.ndarray]) -> None:
            self._leave()
            if not done.cancelled() and done.exception() is None:
                self._parts.label_counts.add(adapter, done.result())

        done.add_done_callback(finish)
        if resident.is_loaded and not self._needs_gate:
            self._enqueue(resident.use_slot(), encodings, done)
        else:
            self._loading = asyncio.create_task(self._enqueue_loaded(adapter, resident, encodings, done))
        return done

    async def _enqueue_loaded(
        self, adapter: AdapterRef, resident: Resident, encodings: Sequence[Encoding], done: asyncio.Future[np.ndarray]
    ) -> None:
        try:
            await resident.wait_loaded()
            if done.done():
                return
            if self._needs_gate and isinstance(adapter, GatedRef) and adapter.key is not None:
                resident = self._choose_gate(adapter, adapter.key)
            slot = await resident.wait_slot()
            if not done.done():
                self._enqueue(slot, encodings, done)
        except Exception as error:  # it belongs to the request
            if not done.done():
                done.set_exception(error)

    def _enqueue(self, slot: int, encodings: Sequence[Encoding], done: asyncio.Future[np.ndarray]) -> None:
        self._request = Request(self.task, slot, list(encodings), done, self._held)
        self._parts.scheduler.enqueue(self._request)

    def _leave(self) -> None:
        """Take the request out of the scheduler, note its stages, and let another adapter take its room."""
        if (request := self._request) is not None:
            self._request = None
            self._parts.scheduler.leave(request)
            timings = request.timings
            self.progress = Progress(request.queued_at, timings.queue_s, timings.inference_s, request.batches)
        self._pins.close()
        self._resident = None

    def close(self) -> None:
        if self._done is not None:
            self._done.cancel()  # before its adapter may be evicted: no batch takes the request any more
        if self._loading is not None:
            self._loading.cancel()
        self._leave()
        if self._permit is not None:
            self._parts.admission.release(self._permit)
            self._permit = None
            self._siblings.remove(self)

    @property
    def _held(self) -> Permit:
        assert self._permit is not None, "the ticket is closed"
        return self._permit

    def _num_tokens_beside(self) -> int:
        return sum(ticket._held.num_tokens for ticket in self._siblings)


class LocalDispatcher(Dispatcher):
    """Answers from `parts`."""

    def __init__(self, engine: EngineInfo, parts: EngineParts) -> None:
        self.engine, self.parts = engine, parts
        self.died = asyncio.Event()  # never set: the engine ends with this process
        self._num_uploads = 0

    @property
    def silent_s(self) -> float:
        return 0.0  # this process is the engine process

    def check(self, task: str, deadline: float) -> None:
        self.parts.admission.check(task, deadline)

    def open(
        self, task: str, deadline: float, refused: Callable[[ServiceError], None], *, beside: Ticket | None = None
    ) -> LocalTicket:
        siblings = [] if beside is None else cast(LocalTicket, beside).siblings
        return LocalTicket(self.parts, task, deadline, siblings)

    async def warm(self, adapter: AdapterRef) -> None:
        await self.parts.follower.refresh()  # otherwise an older snapshot that is being read would evict the adapter
        await self.parts.adapter_cache.warm(adapter)

    async def check_upload(self, data: bytes | Path, *, load: bool) -> CheckedUpload:
        checked = await self.parts.checker.check(data)
        if not self.parts.adapter_cache.can_hold(checked):
            raise UploadRefused("over_memory", "the adapter alone needs more than ADAKRON_ADAPTER_MEMORY_BYTES")
        self.parts.loader.accept(checked.digest)
        if load:
            await self._load_unpublished(checked, data)
        return checked

    async def _load_unpublished(self, checked: CheckedUpload, data: bytes | Path) -> None:
        content = data if isinstance(data, bytes) else await asyncio.to_thread(data.read_bytes)
        try:
            async with asyncio.timeout(LOAD_S):
                with self.parts.loader.offer(checked.digest, content):
                    await self.parts.adapter_cache.warm(checked)
        except TimeoutError:
            message = f"adapter {checked.digest[:12]} was not loaded within {LOAD_S:g} s: all adapter memory is in use"
            raise AdapterUnavailable(message) from None

    @asynccontextmanager
    async def upload_permit(self) -> AsyncIterator[None]:
        self.begin_upload()
        try:
            yield
        finally:
            self.end_upload()

    def begin_upload(self) -> None:
        """Take an upload permit. Raises Overloaded."""
        if self._num_uploads >= self.parts.max_uploads:
            message = f"{self._num_uploads} uploads are already running (ADAKRON_MAX_UPLOADS)"
            raise Overloaded(message, retry_after_s=1, reason="too_many_uploads")
        self._num_uploads += 1

    def end_upload(self) -> None:
        """Give an upload permit back."""
        self._num_uploads -= 1

    @property
    def num_uploads(self) -> int:
        """Upload permits that are held."""
        return self._num_uploads

    async def announce(self) -> None:
        await self.parts.follower.refresh()

    async def label_counts(self, digests: Sequence[str]) -> dict[str, Counted]:
        found = ((digest, self.parts.label_counts.of(digest)) for digest in digests)
        return {digest: counted for digest, counted in found if counted is not None}
