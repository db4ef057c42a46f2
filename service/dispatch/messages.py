"""The messages between an HTTP process and the engine process.

A request's texts never cross: token ids and logits do, as bytes. `number` names a ticket or a call of the connection.
The classes have neither slots nor `frozen`, with which a dataclass is pickled several times as slowly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adapters.backbone.text_encoder import Encoding
from service.core import AdapterRef, BatchRun, CheckedUpload
from service.dispatch.label_counts import Counted
from service.errors import ServiceError


@dataclass(eq=False)
class Hello:
    """The first message of an HTTP process."""

    pid: int
    connection: int  # its name in the load page


# Tickets: HTTP process -> engine process


@dataclass(eq=False)
class Inputs:
    """Token ids of N inputs, side by side."""

    lengths: list[int]  # [N], tokens of each input
    token_ids: bytes  # [T] int64
    type_ids: bytes  # [T] int64

    @classmethod
    def of(cls, encodings: Sequence[Encoding]) -> "Inputs":
        """Lay the encodings side by side."""
        return cls(
            [len(encoding) for encoding in encodings],
            b"".join([encoding.token_ids.tobytes() for encoding in encodings]),
            b"".join([encoding.type_ids.tobytes() for encoding in encodings]),
        )

    def encodings(self) -> list[Encoding]:
        """Cut them apart again; the arrays are views."""
        token_ids = np.frombuffer(self.token_ids, dtype=np.int64)
        type_ids = np.frombuffer(self.type_ids, dtype=np.int64)
        if len(self.lengths) == 1:
            return [Encoding(token_ids, type_ids, truncated=False)]
        encodings, start = [], 0
        for length in self.lengths:
            stop = start + length
            encodings.append(Encoding(token_ids[start:stop], type_ids[start:stop], truncated=False))
            start = stop
        return encodings


@dataclass(eq=False)
class Steps:
    """All that a ticket asks for in one turn of the event loop, in this order; what is None is not asked for.

    Answered by Refused if a step fails, else by Granted for `confirm` and by Answer for `inputs`.
    """

    number: int
    opening: "Opening | None" = None
    most_tokens: int | None = None  # to hold until the inputs are known
    confirm: bool = False  # answer Granted: the steps so far are certain
    adapter: AdapterRef | None = None  # to keep on the device
    inputs: Inputs | None = None  # to compute with `adapter`


@dataclass(eq=False)
class Opening:
    """The first step of a ticket: ask for a permit."""

    task: str
    deadline: float  # monotonic seconds of the machine
    beside: int | None  # the first ticket of the same request, if it names several tasks


@dataclass(eq=False)
class Close:
    """Requests that are answered or abandoned. Not answered."""

    numbers: list[int]


# Tickets: engine process -> HTTP process


@dataclass(eq=False)
class Granted:
    """Permit and reserved tokens are certain."""

    number: int


@dataclass(eq=False)
class Refused:
    """The ticket got no permit, or its inputs could not be computed. Nothing else follows for it."""

    number: int
    error: ServiceError


@dataclass(eq=False)
class Answer:
    """The logits of a ticket's inputs."""

    number: int
    num_outputs: int
    logits: bytes  # [N, num_outputs] float32
    queued_at: float
    queue_s: float
    inference_s: float
    batches: list[BatchRun]


@dataclass(eq=False)
class GatedAnswer(Answer):
    """The logits of a ticket's inputs by an adapter that was merged from a gated file."""

    has_own_gate: bool  # False: the key has no gate of its own, so the mean gate was used


# Calls: HTTP process -> engine process, each answered by Returned or Failed


@dataclass(eq=False)
class Warm:
    """Load an adapter now."""

    number: int
    adapter: AdapterRef


@dataclass(eq=False)
class CheckUpload:
    """Check the adapter file at `path`, which both processes can read. Returns a CheckedUpload without its bytes."""

    number: int
    path: Path
    load: bool  # bring the adapter to the device before it is published


@dataclass(eq=False)
class BeginUpload:
    """Take an upload permit, which EndUpload with the same number gives back."""

    number: int


@dataclass(eq=False)
class EndUpload:
    """Give an upload permit back, if it was given. Not answered."""

    number: int


@dataclass(eq=False)
class Announce:
    """Have every process follow the registry as it is now."""

    number: int


@dataclass(eq=False)
class CountLabels:
    """Return the counts of those versions that have answered, by digest."""

    number: int
    digests: list[str]


@dataclass(eq=False)
class Returned:
    """The result of a call, in either direction."""

    number: int
    result: CheckedUpload | dict[str, Counted] | None = None


@dataclass(eq=False)
class Failed:
    """The error of a call, in either direction."""

    number: int
    error: ServiceError


# Calls: engine process -> HTTP process, answered by Returned or Failed


@dataclass(eq=False)
class Follow:
    """Read the registry now."""

    number: int


Call = Warm | CheckUpload | BeginUpload | Announce | CountLabels
