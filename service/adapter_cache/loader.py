"""AdapterLoader: bring an adapter from the registry onto the device.

Reading waits for the database, so many reads may run at once, and one that hangs holds up no other.
"""

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from service.errors import AdapterUnavailable

MAX_READS = 32  # at once; each is a connection to the database
READ_TIMEOUT_S = 5.0  # the registry's own limit is shorter; this is for what is beyond it


class Write(Protocol):
    """As `Writer.write`."""

    async def __call__(self, slot: int, digest: str, data: bytes, *, checked: bool) -> None: ...


class AdapterLoader:
    """`read(digest)` gives the file with that SHA-256; it runs in a thread, and may raise ServiceError."""

    def __init__(self, read: Callable[[str], bytes], write: Write, *, read_timeout_s: float = READ_TIMEOUT_S) -> None:
        self._read, self._write, self._read_timeout_s = read, write, read_timeout_s
        self._readers = ThreadPoolExecutor(MAX_READS, thread_name_prefix="adapter-read")
        self._checked: set[str] = set()  # digests that were written once; owned by the event loop

    async def load(self, digest: str, slot: int) -> None:
        """Put the adapter of `digest` into `slot`.

        Raises AdapterUnavailable where it cannot be used, RegistryUnavailable where the registry is away.
        """
        try:
            async with asyncio.timeout(self._read_timeout_s):
                data = await asyncio.get_running_loop().run_in_executor(self._readers, self._read, digest)
        except TimeoutError:
            message = f"adapter {digest[:12]} was not read from the registry within {self._read_timeout_s:g} s"
            raise AdapterUnavailable(message) from None
        await self._write(slot, digest, data, checked=digest in self._checked)
        self._checked.add(digest)

    def on_registry_change(self, published: Collection[str]) -> None:
        """Forget what the registry no longer has."""
        self._checked.intersection_update(published)

    def close(self) -> None:
        """Wait for what runs and end the threads."""
        self._readers.shutdown(cancel_futures=True)
