"""Loads: bring an adapter from the registry onto the device.

Reading waits for the database, so many reads may run at once, and one that hangs holds up no other. Checking and
writing is work for the processor, so one thread does it: several would only take the interpreter from each other and
from the engine.
"""

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor

from adapters import checkpoint
from adapters.adapter import Adapter
from adapters.bank import AdapterBank
from adapters.config import BackboneIdentity
from adapters.errors import CheckpointError
from adapters.reload import reload
from service.errors import AdapterUnavailable

MAX_READS = 32  # at once; each is a connection to the database
READ_TIMEOUT_S = 5.0  # the registry's own limit is shorter; this is for what is beyond it


class Loads:
    """`read(digest)` gives the file with that SHA-256; it runs in a thread, and may raise ServiceError."""

    def __init__(
        self,
        bank: AdapterBank,
        read: Callable[[str], bytes],
        backbone: BackboneIdentity,
        *,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        self._bank, self._read, self._backbone = bank, read, backbone
        self._read_timeout_s = read_timeout_s
        self._readers = ThreadPoolExecutor(MAX_READS, thread_name_prefix="adapter-read")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="adapter-write")
        self._checked: set[str] = set()  # digests that have passed every check here; owned by the event loop

    async def load(self, digest: str, slot: int) -> None:
        """Put the adapter of `digest` into `slot` of the bank.

        Raises AdapterUnavailable where it cannot be used, RegistryUnavailable where the registry is away.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._read_timeout_s):
                data = await loop.run_in_executor(self._readers, self._read, digest)
        except TimeoutError:
            message = f"adapter {digest[:12]} was not read from the registry within {self._read_timeout_s:g} s"
            raise AdapterUnavailable(message) from None
        known = digest in self._checked
        await loop.run_in_executor(self._writer, self._write, slot, digest, data, known)
        self._checked.add(digest)

    def follow(self, published: Collection[str]) -> None:
        """Forget what the registry no longer has."""
        self._checked.intersection_update(published)

    def close(self) -> None:
        """Wait for what runs and end the threads."""
        self._readers.shutdown(cancel_futures=True)
        self._writer.shutdown()

    def _write(self, slot: int, digest: str, data: bytes, known: bool) -> None:
        self._bank.write(slot, reload(data, digest) if known else self._check(data, digest))

    def _check(self, data: bytes, digest: str) -> Adapter:
        try:
            return checkpoint.loads(data, self._backbone)
        except CheckpointError as error:  # published for another backbone, past this server's own checks
            raise AdapterUnavailable(f"adapter {digest[:12]} cannot be used here: {error}") from error
