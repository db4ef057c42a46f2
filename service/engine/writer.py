"""Writer: adapter file -> slot of the bank, in one thread: several would only take the interpreter from each other."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from adapters import checkpoint
from adapters.adapter import Adapter
from adapters.config import BackboneIdentity
from adapters.errors import CheckpointError
from adapters.serving.bank import AdapterBank
from service.errors import AdapterUnavailable


class Writer:
    """Every file passes every check of `adapters.checkpoint.adapter_file`, or has passed it here before."""

    def __init__(self, bank: AdapterBank, backbone: BackboneIdentity) -> None:
        self._bank, self._backbone = bank, backbone
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="adapter-write")

    async def write(self, slot: int, digest: str, data: bytes, *, checked: bool) -> None:
        """Put the adapter in `data`, whose SHA-256 is `digest`, into `slot`; `checked` where this has taken it before.

        Raises AdapterUnavailable where it cannot be used.
        """
        await asyncio.get_running_loop().run_in_executor(self._thread, self._write, slot, digest, data, checked)

    def close(self) -> None:
        """Wait for what runs and end the thread."""
        self._thread.shutdown()

    def _write(self, slot: int, digest: str, data: bytes, checked: bool) -> None:
        self._bank.write(slot, checkpoint.parse_trusted(data, digest) if checked else self._check(data, digest))

    def _check(self, data: bytes, digest: str) -> Adapter:
        try:
            return checkpoint.parse(data, self._backbone)
        except CheckpointError as error:  # published for another backbone, past this server's own checks
            raise AdapterUnavailable(f"adapter {digest[:12]} cannot be used here: {error}") from error
