"""EngineBackend: the whole contract between scheduling and compute. Imports no torch."""

from typing import Any, Protocol, runtime_checkable

import numpy as np

from adapters.serving.batch import BatchTokens


class HostAdapter(Protocol):
    """An adapter in host memory, as a backend lays it out."""

    @property
    def num_bytes(self) -> int:
        """Its size."""


@runtime_checkable
class HostExperts(HostAdapter, Protocol):
    """The experts and the gates of a gated file in host memory."""

    def find(self, key: bytes) -> int | None:
        """Return the row of the key with that salted digest; None if it has no gate of its own."""


class EngineBackend(Protocol):
    """A backbone on its device, and numbered slots for adapters."""

    name: str  # of the device, as torch names it
    dtype: str  # of the weights, as torch names it: float32

    def num_bytes(self, num_parameters: int, num_outputs: int) -> int:
        """Return the device memory of an adapter with `num_parameters` and a head of `num_outputs`."""

    async def read(self, digest: str, data: bytes, *, checked: bool) -> HostAdapter:
        """Lay the adapter file `data` with that SHA-256 out in host memory. `checked`: it was accepted here before.

        Returns HostExperts for a gated file. Raises AdapterUnavailable when the file cannot be used on this backbone.
        """

    async def merge(self, experts: Any, row: int | None) -> HostAdapter:
        """Merge experts that `read` has returned by the gate in `row`, or by the mean gate, beside the event loop."""

    async def write(self, slot: int, adapter: Any) -> None:
        """Put an adapter that `read` or `merge` has returned into `slot`."""

    def clear(self, slot: int) -> None:
        """Free a slot that no later batch uses."""

    async def prepare(self, batch: BatchTokens) -> Any:
        """Return what `compute` needs of the batch. May run while another batch is computed.

        At most the two newest are kept: of those that were never computed, an older one is dropped.
        """

    async def compute(self, prepared: Any) -> list[np.ndarray]:
        """Return the logits [inputs, num outputs] float32 of each segment; one batch at a time.

        Its slots must keep their adapters until this returns. Raises InferenceFailed.
        """

    async def close(self) -> None:
        """Finish what is running, and end the engine's threads."""
