"""Results of the admin API: frozen values whose fields are those of docs/http-api.md."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from .results import TaskType, parse

V = TypeVar("V", bound="Version")


@dataclass(frozen=True, slots=True)
class Changes:
    """Differences between a version and the live one, as clients see them; the last seven name them one by one."""

    live: int  # the version compared with
    compatible: bool  # `breaking` is empty
    breaking: tuple[str, ...]  # in words: differences that clients cannot cope with
    notes: tuple[str, ...]  # in words: differences that clients can cope with
    type: Mapping[str, TaskType] | None  # before, after
    pair: Mapping[str, bool] | None
    labels_removed: tuple[str, ...]
    labels_added: tuple[str, ...]
    labels_reordered: bool
    max_length: Mapping[str, int] | None
    context: Mapping[str, str | None] | None


@dataclass(frozen=True)
class Version:
    """One immutable version of a task."""

    task: str
    version: int
    digest: str  # SHA-256 of the adapter file
    created_at: str  # ISO 8601
    type: TaskType
    labels: tuple[str, ...]
    pair: bool
    max_length: int
    truncation: str
    temperature: float
    context: str | None  # the field of a request's context that chooses a gate; None without gates
    num_parameters: int
    num_bytes: int
    metrics: Mapping[str, float]
    quarantined: bool  # its stored bytes are damaged: upload the same file to repair it
    changes: Changes | None  # against the live version; None if clients notice no difference


@dataclass(frozen=True)
class UploadedVersion(Version):
    """The version that an upload made, or found; `changes` are against the version that was live before."""

    live: bool


@dataclass(frozen=True)
class TaskVersions:
    """Every version of a task, and where its aliases point."""

    task: str
    versions: tuple[Version, ...]
    aliases: Mapping[str, int]
    weight: float
    rollback_to: int | None  # the version that a rollback makes live


@dataclass(frozen=True)
class MovedAlias(TaskVersions):
    """The task after one of its aliases has moved; `changes` are against the version that was live before."""

    changes: Changes | None


@dataclass(frozen=True)
class ApiKey:
    """A key without its secret part."""

    id: str
    name: str
    scopes: tuple[str, ...]  # admin, upload, predict
    tasks: tuple[str, ...]  # empty: for every task
    created_at: str
    revoked_at: str | None


@dataclass(frozen=True)
class NewApiKey(ApiKey):
    """A new key; the server shows `key` only this once."""

    key: str


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change of the registry."""

    id: int
    at: str
    actor: str
    action: str
    task: str | None
    version: int | None
    alias: str | None
    detail: str
    source: str  # the address that the request came from


@dataclass(frozen=True, slots=True)
class LabelCount:
    """The number of inputs that got a label."""

    label: str
    count: int


@dataclass(frozen=True, slots=True)
class VersionActivity:
    """Counts of the answers of one version since the server started."""

    version: int
    num_inputs: int
    labels: tuple[LabelCount, ...]  # the most frequent ones, at most 50
    num_other_labels: int
    mean: float | None  # of the values of a regression


def parse_changes(body: Mapping[str, Any] | None) -> Changes | None:
    """Parse `changes` of any answer."""
    return None if body is None else parse(Changes, body)


def parse_version(kind: type[V], body: Mapping[str, Any]) -> V:
    """Parse one version, with its `changes`."""
    return parse(kind, body, changes=parse_changes(body["changes"]))


def parse_task_versions(body: Mapping[str, Any]) -> TaskVersions:
    """Parse the answer of GET /admin/v1/tasks/{task}."""
    return parse(TaskVersions, body, versions=tuple(map(partial(parse_version, Version), body["versions"])))


def parse_moved_alias(body: Mapping[str, Any]) -> MovedAlias:
    """Parse the answer of a change of an alias."""
    versions = tuple(map(partial(parse_version, Version), body["versions"]))
    return parse(MovedAlias, body, versions=versions, changes=parse_changes(body["changes"]))


def parse_activity(body: Mapping[str, Any]) -> VersionActivity:
    """Parse an entry of GET /admin/v1/tasks/{task}/activity."""
    return parse(VersionActivity, body, labels=tuple(parse(LabelCount, one) for one in body["labels"]))
