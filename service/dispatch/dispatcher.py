"""Dispatcher: all that the HTTP side of a server asks of the engine side. Imports no torch.

`LocalDispatcher` (service/engine_process) answers in the same process, `RemoteDispatcher` asks another one.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import numpy as np

from adapters.backbone.text_encoder import Encoding
from service.core import AdapterRef, CheckedUpload, Progress
from service.dispatch.engine_info import EngineInfo
from service.dispatch.label_counts import Counted
from service.errors import ServiceError


class Ticket(Protocol):
    """The permit of one request for one task, held until `close`.

    A refusal that the engine process sends later is passed to the function given to `open`, and raised by every later
    call that waits.
    """

    task: str
    progress: Progress
    has_own_gate: bool  # set by `compute`: the adapter was merged by the gate of the key, not by the mean gate

    def reserve(self, most_tokens: int) -> None:
        """Hold the most tokens that the inputs can have, before they are tokenized. Raises as Admission.reserve."""

    async def granted(self) -> None:
        """Wait until the permit and the reserved tokens are certain. Raises Overloaded and what else refused them."""

    def load(self, adapter: AdapterRef) -> None:
        """Keep the adapter on the device until `close`; its load starts now if necessary."""

    async def compute(self, adapter: AdapterRef, encodings: Sequence[Encoding]) -> np.ndarray:
        """Return the logits [inputs, num outputs] float32; cancelling the call abandons the inputs.

        Raises what refused the permit, AdapterUnavailable, RegistryUnavailable, DeadlineExceeded, InferenceFailed,
        ShuttingDown, EngineDied.
        """

    def close(self) -> None:
        """Give the permit back."""


class Dispatcher(Protocol):
    """The engine side of a server."""

    engine: EngineInfo
    died: asyncio.Event  # set when the engine process has ended: it will compute nothing any more

    @property
    def silent_s(self) -> float:
        """Seconds since the engine process gave its last sign of life; below 1 while its event loop runs."""

    def check(self, task: str, deadline: float) -> None:
        """Raise what `open` would raise, by what this process knows of the load without asking."""

    def open(
        self, task: str, deadline: float, refused: Callable[[ServiceError], None], *, beside: Ticket | None = None
    ) -> Ticket:
        """Ask for a permit; `deadline` in monotonic seconds.

        `beside` is the first ticket of the same request, if it names several tasks. Raises what Admission.admit raises,
        or passes it to `refused` later.
        """

    async def warm(self, adapter: AdapterRef) -> None:
        """Load the adapter now. Raises AdapterUnavailable, RegistryUnavailable, EngineDied."""

    async def check_upload(self, data: bytes, *, load: bool) -> CheckedUpload:
        """Check an adapter file in the checker process, and with `load` bring it to the device before it is published.

        Raises UploadRefused, CheckerUnavailable, AdapterUnavailable, EngineDied.
        """

    def upload_permit(self) -> AbstractAsyncContextManager[None]:
        """Hold one of ADAKRON_MAX_UPLOADS permits of the server. Entering raises Overloaded, EngineDied."""

    async def announce(self) -> None:
        """Wait until every process of the server follows the registry as it is now.

        Raises RegistryUnavailable if one cannot read it, EngineDied.
        """

    async def label_counts(self, digests: Sequence[str]) -> dict[str, Counted]:
        """Return the counts of those versions that have answered. Raises EngineDied."""
