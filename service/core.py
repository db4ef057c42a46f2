"""The nouns of the service: frozen values and requests. A comment beside a field says which component sets it."""

import asyncio
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Literal, Self, cast, get_args

import numpy as np

from adapters.backbone.text_encoder import Encoding
from adapters.config import GatesConfig, TaskSpec, TaskType
from adapters.serving.batch import BatchTokens

TASK_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
LIVE = "live"  # the alias that answers clients that name only the task
TURN_TOKENS = 256  # of one task in a batch before the next task's turn; the last input may exceed it
Scope = Literal["admin", "upload", "predict"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
RejectionReason = Literal["queued_requests", "queued_tokens", "predicted_latency", "deadline"]
REJECTION_REASONS: tuple[RejectionReason, ...] = get_args(RejectionReason)
DEFAULT_WEIGHT = 1.0  # of a task: its share of the engine under contention
MIN_WEIGHT, MAX_WEIGHT = 0.01, 100.0


def find_name_fault(kind: Literal["task", "alias"], name: str) -> str | None:
    """Return why `name` is not valid for a task or an alias, with the nearest valid name; None if it is valid."""
    if TASK_NAME.fullmatch(name) and not (kind == "alias" and name.isdecimal()):
        return None
    plain = unicodedata.normalize("NFKD", name[:1000]).encode("ascii", "ignore").decode().lower()
    near = re.sub("[^a-z0-9]+", "-", plain).strip("-")
    if kind == "alias" and near.isdecimal():
        near = f"v{near}"
    form = "does not begin with -, and is not a number" if kind == "alias" else "and does not begin with -"
    rule = f"{kind} {name[:64]!r}: a name is 1 to 63 of a-z, 0-9 and -, {form}"
    return f"{rule}; {near[:63].strip('-')} would do" if near else rule


@dataclass(frozen=True)
class AdapterRef:
    """The facts about a version that the engine process needs to load and to compute its adapter.

    Without slots, as BatchRun: with them a dataclass is pickled several times as slowly.
    """

    task: str
    version: int
    digest: str  # SHA-256 of the adapter file
    task_type: TaskType
    num_parameters: int  # of the adapters, without the head
    num_outputs: int


@dataclass(frozen=True)
class GatedRef(AdapterRef):
    """A version with gates, and the key of a request for it; the parameters are those of one key's adapter."""

    num_bytes: int  # of the file, whose experts and gates stay in memory beside the adapters merged from them
    key: bytes | None = None  # salted digest of the key; None: no key, so the mean gate


@dataclass(frozen=True)
class PublishedVersion:
    """One immutable version of a task, without its tensors. Set by the registry."""

    task: str
    version: int  # 1, 2, 3 ... per task, never reused
    digest: str  # SHA-256 of the adapter file
    spec: TaskSpec
    metrics: Mapping[str, float]
    num_parameters: int  # of the adapters, without the head
    num_bytes: int  # of the adapter file
    created_at: datetime  # UTC
    quarantined: bool = False  # its stored bytes were found damaged; publishing the same file again repairs them
    gates: GatesConfig | None = None  # None: an adapter without gates

    @cached_property
    def adapter(self) -> AdapterRef:
        """The facts that the engine process needs; for a version with gates those of the mean gate's adapter."""
        spec = self.spec
        facts = self.task, self.version, self.digest, spec.type, self.num_parameters, spec.num_outputs
        return AdapterRef(*facts) if self.gates is None else GatedRef(*facts, self.num_bytes)

    @property
    def context_field(self) -> str | None:
        """The field of a request's context that chooses a gate; None without gates."""
        return None if self.gates is None else self.gates.field

    def adapter_of(self, key: bytes | None) -> AdapterRef:
        """Return `adapter` for the key with the salted digest `key`; only a version with gates has keys."""
        return self.adapter if key is None else replace(cast(GatedRef, self.adapter), key=key)


@dataclass(frozen=True)
class CheckedUpload:
    """An adapter file that has passed the checks, and its description: the registry stores nothing else."""

    # set by publishing.checks.check_upload
    data: bytes = field(repr=False)
    digest: str  # SHA-256 of `data`, 64 hex digits
    metadata_json: str  # canonical JSON of the file's AdapterMetadata
    num_parameters: int  # of the adapters, without the head
    num_outputs: int
    gated_bytes: int = 0  # of the file, if it has gates


@dataclass(frozen=True)
class ApiKey:
    """A key with its permissions. Set by the registry, which stores only a hash of the secret part."""

    id: str  # public; part of the key itself and of the audit log
    name: str  # for people
    scopes: frozenset[Scope]  # admin includes the others
    tasks: frozenset[str]  # that it covers; empty: every task
    secret_sha256: str  # 64 hex digits
    created_at: datetime  # UTC
    revoked_at: datetime | None  # UTC; None while it is valid


@dataclass
class Timings:
    """Seconds that a request spent in each stage."""

    tokenize_s: float = 0.0  # Tokenizer
    queue_s: float = 0.0  # Scheduler: from admission to its first batch
    inference_s: float = 0.0  # Scheduler: the batches that it was in


@dataclass(frozen=True, eq=False)
class BatchRun:
    """A batch that was computed. Set by the scheduler."""

    started: float  # monotonic seconds
    duration_s: float
    num_inputs: int
    num_tokens: int
    num_adapters: int


@dataclass(eq=False, slots=True)
class Progress:
    """The stages that a request's inputs have gone through in the engine process. Set by a Ticket."""

    queued_at: float = 0.0  # monotonic seconds of the machine; 0.0 until they are queued
    queue_s: float = 0.0  # from then to the first batch
    inference_s: float = 0.0  # of the batches that they were in
    batches: list[BatchRun] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Permit:
    """Admission ticket of one request. Granted and changed by Admission."""

    task: str = ""  # whose share it counts for
    deadline: float = math.inf  # monotonic seconds
    num_tokens: int = 0  # reserved: first the upper bound, then the actual number, minus the computed ones


@dataclass(eq=False)
class Request:
    """The inputs of one HTTP request, all for one adapter. Owned by the scheduler from `submit` to delivery."""

    task: str  # whose share it counts for
    slot: int  # of its adapter, pinned until the request is done
    encodings: list[Encoding]
    done: asyncio.Future[np.ndarray]  # Scheduler: logits [num inputs, num outputs]; cancelled: abandoned
    permit: Permit = field(default_factory=Permit)
    timings: Timings = field(default_factory=Timings)
    queued_at: float = 0.0  # Scheduler: monotonic seconds
    num_taken: int = 0  # FairQueue: encodings in a running or finished batch
    num_tokens_left: int = field(init=False)  # FairQueue: of the other encodings
    logits: list[np.ndarray] = field(default_factory=list)  # Scheduler: those computed so far, in order
    batches: list[BatchRun] = field(default_factory=list)  # Scheduler: those that it was in

    def __post_init__(self) -> None:
        self.num_tokens_left = sum(map(len, self.encodings))

    def take(self, num_encodings: int, num_tokens: int) -> None:
        """Record that the next encodings, with `num_tokens` tokens, went into a batch."""
        self.num_taken += num_encodings
        self.num_tokens_left -= num_tokens

    @property
    def abandoned(self) -> bool:
        """Whether its result is no longer awaited."""
        return self.done.done()


@dataclass(frozen=True, eq=False)
class Part:
    """The encodings [first : first + len] of one request that are in one batch."""

    request: Request
    first: int
    encodings: list[Encoding]

    @property
    def num_tokens(self) -> int:
        """Tokens of its encodings."""
        return sum(map(len, self.encodings))


@dataclass(frozen=True, eq=False)
class Segment:
    """Contiguous rows of one adapter in a batch."""

    slot: int
    parts: list[Part]

    @property
    def encodings(self) -> list[Encoding]:
        """Encodings of all its parts, in order."""
        return [encoding for part in self.parts for encoding in part.encodings]


@dataclass(frozen=True, eq=False)
class Batch:
    """Requests that run together; mixed if it has several segments."""

    segments: list[Segment]

    @classmethod
    def of(cls, parts: Iterable[Part]) -> Self:
        """Group the parts by adapter, in their order."""
        by_slot: dict[int, list[Part]] = {}
        for part in parts:
            by_slot.setdefault(part.request.slot, []).append(part)
        return cls([Segment(slot, members) for slot, members in by_slot.items()])

    @property
    def parts(self) -> list[Part]:
        """Parts of all its segments, in order."""
        return [part for segment in self.segments for part in segment.parts]

    @property
    def num_inputs(self) -> int:
        """Sequences in the batch."""
        return sum(len(part.encodings) for part in self.parts)

    @property
    def num_tokens(self) -> int:
        """Rows of the packed batch."""
        return sum(part.num_tokens for part in self.parts)

    def tokens(self) -> BatchTokens:
        """Lay the token ids flat, for the engine: it learns nothing about requests."""
        return BatchTokens.of([(segment.slot, segment.encodings) for segment in self.segments])
