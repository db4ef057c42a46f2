"""AdapterLoader: brings an adapter file from the registry, or from host memory, into a slot of the engine.

Reading waits for the database, so many reads may run at once, and one that hangs delays no other.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from weakref import WeakValueDictionary

from service.adapter_cache.host import HostAdapters
from service.engine.backend import EngineBackend, HostAdapter, HostExperts
from service.errors import AdapterUnavailable

MAX_READS = 32  # at once; each is a connection to the database
PUBLISHED_S = 5.0  # in which an accepted file is published, if at all
READ_TIMEOUT_S = 5.0  # longer than the registry's own limit, for hangs that the registry does not notice


class AdapterLoader:
    """`read(digest)` returns the file with that SHA-256; it runs in a thread, and may raise ServiceError.

    Adapters that are loaded more than once stay in host memory, `host_memory_bytes` of them.
    """

    def __init__(
        self,
        read: Callable[[str], bytes],
        engine: EngineBackend,
        *,
        host_memory_bytes: int = 0,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        self.host = HostAdapters(host_memory_bytes)
        self._read_file, self._engine, self._read_timeout_s = read, engine, read_timeout_s
        self._readers = ThreadPoolExecutor(MAX_READS, thread_name_prefix="adapter-read")
        self._checked: set[str] = set()  # digests that this server has checked; owned by the event loop
        self._accepted: dict[str, float] = {}  # by digest: until when its publication is expected
        self._files: dict[str, bytes] = {}  # by digest: files that are loaded before they are published
        self._experts = WeakValueDictionary[str, HostExperts]()  # by digest: those in use anywhere
        self._fetching: dict[str, asyncio.Task[HostAdapter]] = {}  # by digest: files that keys wait for, each read once

    async def load(self, digest: str, slot: int, row: int | None = None) -> HostExperts | None:
        """Put the adapter with SHA-256 `digest` into `slot`, and return the experts of a gated file.

        Of a gated file it is the adapter of the key in `row`, or that of the mean gate; the file is not read while the
        experts that an earlier call has returned are in use. Raises AdapterUnavailable when the file cannot be read in
        time or used, RegistryUnavailable when the registry cannot be reached.
        """
        found = await self._find(digest, row)
        if isinstance(found, HostExperts):
            await self._engine.write(slot, await self._engine.merge(found, row))
            return found
        await self._engine.write(slot, found)
        self.host.loaded(digest, found)
        return None

    def accept(self, digest: str) -> None:
        """Load the adapter without the checks from now on: this server's checker has accepted its file."""
        self._checked.add(digest)
        self._accepted[digest] = time.monotonic() + PUBLISHED_S

    @contextmanager
    def offer(self, digest: str, data: bytes) -> Iterator[None]:
        """Let loads take an accepted file from `data` while the context is open: it is not published yet."""
        self._files[digest] = data
        try:
            yield
        finally:
            self._files.pop(digest, None)

    def expected(self, published: Collection[str]) -> frozenset[str]:
        """Return the digests accepted within PUBLISHED_S and never in `published`: their adapters may stay."""
        now = time.monotonic()
        self._accepted = {
            digest: until for digest, until in self._accepted.items() if now < until and digest not in published
        }
        return frozenset(self._accepted)

    def on_registry_change(self, published: Collection[str]) -> None:
        """Forget which unpublished adapters were accepted: published again, their files are checked again."""
        self._checked.intersection_update(published)
        self.host.retain(published)

    async def _find(self, digest: str, row: int | None) -> HostAdapter:
        if (experts := self._experts.get(digest)) is not None:
            return experts
        if row is None:
            return await self._fetch(digest)
        if (fetching := self._fetching.get(digest)) is None:
            fetching = self._fetching[digest] = asyncio.create_task(self._fetch(digest))
            fetching.add_done_callback(lambda _: self._fetching.pop(digest))
        return await asyncio.shield(fetching)

    async def _fetch(self, digest: str) -> HostAdapter:
        """Return the adapter, or the experts, from host memory or else from the registry."""
        found = self.host.find(digest) or await self._read(digest)
        if isinstance(found, HostExperts):
            self._experts[digest] = found
            self.host.loaded(digest, found)
        return found

    async def _read(self, digest: str) -> HostAdapter:
        data = self._files.get(digest) or await self._read_in_time(digest)
        adapter = await self._engine.read(digest, data, checked=digest in self._checked)
        self._checked.add(digest)
        return adapter

    async def _read_in_time(self, digest: str) -> bytes:
        try:
            async with asyncio.timeout(self._read_timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._readers, self._read_file, digest)
        except TimeoutError:
            message = f"adapter {digest[:12]} was not read from the registry within {self._read_timeout_s:g} s"
            raise AdapterUnavailable(message) from None

    def close(self) -> None:
        """Wait for the reads that are running, and end the threads."""
        for fetching in self._fetching.values():
            fetching.cancel()
        self._readers.shutdown(cancel_futures=True)
