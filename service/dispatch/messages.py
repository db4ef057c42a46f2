"""The messages between an HTTP process and the engine process.

A request's texts never cross: token ids and logits do, as bytes. `number` names a ticket or a call of the connection.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adapters.backbone.text_encoder import Encoding
from service.core import AdapterRef, BatchRun, CheckedUpload
from service.dispatch.label_counts import Counted
from service.errors import ServiceError


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of an HTTP process."""

    pid: int


# Tickets: HTTP process -> engine process


@dataclass(frozen=True, slots=True)
class Open:
    """Ask for a permit. Answered only by Refused."""

    number: int
    task: str
    deadline: float  # monotonic seconds of the machine
    beside: int | None  # the first ticket of the same request, if it names several tasks


@dataclass(frozen=True, slots=True)
class Reserve:
    """Hold tokens. Answered only by Refused."""

    number: int
    most_tokens: int


@dataclass(frozen=True, slots=True)
class Confirm:
    """Answered by Granted, unless the ticket was refused."""

    number: int


@dataclass(frozen=True, slots=True)
class Load:
    """Keep an adapter on the device for the ticket. Answered only by Refused."""

    number: int
    adapter: AdapterRef


@dataclass(frozen=True, slots=True)
class Submit:
    """Compute inputs. Answered by Answer or Refused."""

    number: int
    adapter: AdapterRef
    lengths: list[int]  # [N], tokens of each input
    token_ids: bytes  # [T] int64
    type_ids: bytes  # [T] int64

    @classmethod
    def of(cls, number: int, adapter: AdapterRef, encodings: Sequence[Encoding]) -> "Submit":
        """Lay the encodings side by side."""
        return cls(
            number,
            adapter,
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


@dataclass(frozen=True, slots=True)
class Close:
    """The request is answered or abandoned. Not answered."""

    number: int


# Tickets: engine process -> HTTP process


@dataclass(frozen=True, slots=True)
class Granted:
    """Permit and reserved tokens are certain."""

    number: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The ticket got no permit, or its inputs could not be computed. Nothing else follows for it."""

    number: int
    error: ServiceError


@dataclass(frozen=True, slots=True)
class Answer:
    """The logits of a Submit."""

    number: int
    num_outputs: int
    logits: bytes  # [N, num_outputs] float32
    queued_at: float
    queue_s: float
    inference_s: float
    batches: list[BatchRun]


# Calls: HTTP process -> engine process, each answered by Returned or Failed


@dataclass(frozen=True, slots=True)
class Warm:
    """Load an adapter now."""

    number: int
    adapter: AdapterRef


@dataclass(frozen=True, slots=True)
class CheckUpload:
    """Check the adapter file at `path`, which both processes can read. Returns a CheckedUpload without its bytes."""

    number: int
    path: Path


@dataclass(frozen=True, slots=True)
class MarkChecked:
    """Load a published adapter without the checks from now on. Not answered."""

    digest: str


@dataclass(frozen=True, slots=True)
class BeginUpload:
    """Take an upload permit."""

    number: int


@dataclass(frozen=True, slots=True)
class EndUpload:
    """Give an upload permit back. Not answered."""


@dataclass(frozen=True, slots=True)
class Announce:
    """Have every process follow the registry as it is now."""

    number: int


@dataclass(frozen=True, slots=True)
class CountLabels:
    """Return the counts of those versions that have answered, by digest."""

    number: int
    digests: list[str]


@dataclass(frozen=True, slots=True)
class Returned:
    """The result of a call, in either direction."""

    number: int
    result: CheckedUpload | dict[str, Counted] | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The error of a call, in either direction."""

    number: int
    error: ServiceError


# Calls: engine process -> HTTP process, answered by Returned or Failed


@dataclass(frozen=True, slots=True)
class Follow:
    """Read the registry now."""

    number: int


Call = Warm | CheckUpload | BeginUpload | Announce | CountLabels
