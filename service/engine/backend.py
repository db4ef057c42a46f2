"""EngineBackend: the whole contract between scheduling and compute. Imports no torch."""

import asyncio
from typing import Any, Protocol

import numpy as np

from adapters.serving.batch import BatchTokens


class EngineBackend(Protocol):
    """A backbone on its device, and numbered slots for adapters: an EngineWorker or an EngineProcess."""

    name: str  # of the device, as torch names it
    dtype: str  # of the weights, as torch names it: float32
    pid: int | None  # of the engine's process; None: it computes in this process
    died: asyncio.Event  # set when the engine's process has ended: it will compute nothing any more

    def num_bytes(self, num_parameters: int, num_outputs: int) -> int:
        """Return the device memory of an adapter with `num_parameters` and a head of `num_outputs`."""

    async def write(self, slot: int, digest: str, data: bytes, *, checked: bool) -> None:
        """Put the adapter file `data` with that SHA-256 into `slot`. `checked`: this backend has accepted it before.

        Raises AdapterUnavailable when the file cannot be used on this backbone, EngineDied.
        """

    def clear(self, slot: int) -> None:
        """Free a slot that no later batch uses."""

    async def prepare(self, batch: BatchTokens) -> Any:
        """Return what `compute` needs of the batch. May run while another batch is computed.

        At most the two newest are kept: of those that were never computed, an older one is dropped.
        """

    async def compute(self, prepared: Any) -> list[np.ndarray]:
        """Return the logits [inputs, num outputs] float32 of each segment; one batch at a time.

        Its slots must keep their adapters until this returns. Raises InferenceFailed, EngineDied.
        """

    async def close(self) -> None:
        """Finish what is running, and end the engine's threads and process."""
