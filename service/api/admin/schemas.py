"""Bodies about tasks, versions and aliases, and how answers are made from the registry's values."""

from datetime import datetime
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from adapters.config import TaskType
from service.api.http.openapi import ContextField, ErrorBody, TaskTruncation, Temperature
from service.core import MAX_WEIGHT, MIN_WEIGHT, PublishedVersion
from service.registry import Changes, TaskEntry

T = TypeVar("T")


class Change(BaseModel, Generic[T]):
    """One property in the live version (`before`) and in the other one (`after`)."""

    before: T
    after: T


class ChangesInfo(BaseModel):
    """How a version differs from the live one for clients."""

    live: Annotated[int, Field(description="The live version.")]
    compatible: Annotated[
        bool, Field(description="`breaking` is empty: the version may become live without a confirmation.")
    ]
    breaking: Annotated[list[str], Field(description="Changes that break clients, in words.")]
    notes: Annotated[
        list[str], Field(description="Changes that clients should know but that do not break them, in words.")
    ]
    type: Change[TaskType] | None
    pair: Change[bool] | None
    labels_removed: list[str]
    labels_added: list[str]
    labels_reordered: Annotated[bool, Field(description="Labels that remain have another place among the outputs.")]
    max_length: Change[int] | None
    context: Change[str | None] | None


class VersionInfo(BaseModel):
    """One immutable version."""

    task: str
    version: int
    digest: str
    created_at: datetime
    type: TaskType
    labels: list[str]
    pair: bool
    max_length: int
    truncation: TaskTruncation
    temperature: Temperature
    context: ContextField
    num_parameters: Annotated[int, Field(description="Of the adapters, without the head.")]
    num_bytes: Annotated[int, Field(description="Size of the adapter file.")]
    metrics: dict[str, float]
    quarantined: Annotated[
        bool, Field(description="Its stored bytes are damaged; upload the same file again to repair it.")
    ]
    changes: Annotated[
        ChangesInfo | None,
        Field(description="What would change for clients if it became live; null if nothing would."),
    ]


class UploadResponse(VersionInfo):
    """The version that an upload has created, or the existing version with the same bytes."""

    live: Annotated[bool, Field(description="`live` points to it.")]
    changes: Annotated[
        ChangesInfo | None,
        Field(description="Compared with the version that was live before; null if nothing changes for clients."),
    ]


class AdminTask(BaseModel):
    """A task with all its versions and aliases."""

    task: str
    versions: list[VersionInfo]
    aliases: dict[str, int]
    weight: Annotated[float, Field(description="Its share of the engine while several tasks have requests waiting.")]
    rollback_to: Annotated[
        int | None, Field(description="The version that a rollback makes live; null if there is none.")
    ]


class MovedAlias(AdminTask):
    """The task after one of its aliases has moved."""

    changes: Annotated[
        ChangesInfo | None,
        Field(
            description="The alias's version compared with the version that was live before; null if nothing changes "
            "for clients."
        ),
    ]


class AdminTaskList(BaseModel):
    """Every task of the registry."""

    tasks: list[AdminTask]


class GoldenInput(BaseModel):
    """One example input."""

    inputs: Annotated[str | tuple[str, str], Field(description="A text, or a pair of texts.")]


class VersionExamples(BaseModel):
    """Inputs with which a version was checked after its training."""

    examples: list[GoldenInput]


class LabelCount(BaseModel):
    """The number of inputs with this label."""

    label: str
    count: int


class VersionActivity(BaseModel):
    """Counts of one version's answers since the server started."""

    version: int
    num_inputs: int
    labels: Annotated[list[LabelCount], Field(description="The most frequent labels, at most 50.")]
    num_other_labels: Annotated[int, Field(description="Number of further labels.")]
    mean: Annotated[float | None, Field(description="The mean value of a regression.")]


class TaskActivity(BaseModel):
    """Counts of the answers of a task's versions since the server started."""

    task: str
    versions: list[VersionActivity]


class AliasTarget(BaseModel):
    """The version that an alias shall point to."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[StrictInt, Field(ge=1)]


class NewWeight(BaseModel):
    """A task's share of the engine while several tasks have requests waiting; initially 1."""

    model_config = ConfigDict(extra="forbid")

    weight: Annotated[float, Field(strict=True, ge=MIN_WEIGHT, le=MAX_WEIGHT, allow_inf_nan=False)]


class ConflictBody(ErrorBody):
    """The body of 409; an upload that is `incompatible` is published as this version, but not made live."""

    version: Annotated[int | None, Field(description="For `incompatible`: the version that is not made live.")] = None
    digest: str | None = None
    changes: ChangesInfo | None = None


def _changes_info(changes: Changes | None) -> ChangesInfo | None:
    return None if changes is None else ChangesInfo(**changes.as_json())


def version_info(version: PublishedVersion, changes: Changes | None) -> VersionInfo:
    """Describe a version and what it changes for clients."""
    return VersionInfo(
        task=version.task,
        version=version.version,
        digest=version.digest,
        created_at=version.created_at,
        type=version.spec.type,
        labels=list(version.spec.labels),
        pair=version.spec.pair,
        max_length=version.spec.max_length,
        truncation=version.spec.truncation,
        temperature=version.spec.temperature,
        context=version.context_field,
        num_parameters=version.num_parameters,
        num_bytes=version.num_bytes,
        metrics=dict(version.metrics),
        quarantined=version.quarantined,
        changes=_changes_info(changes),
    )


def admin_task(entry: TaskEntry) -> AdminTask:
    """Describe a task with its versions and aliases."""
    versions = [version_info(version, entry.changes(version)) for version in entry.versions.values()]
    return AdminTask(
        task=entry.name,
        versions=versions,
        aliases=dict(entry.aliases),
        weight=entry.weight,
        rollback_to=entry.rollback_to,
    )


def moved_alias(entry: TaskEntry, changes: Changes | None) -> MovedAlias:
    """Describe a task after one of its aliases has moved, and what that has changed for clients."""
    return MovedAlias(**dict(admin_task(entry)), changes=_changes_info(changes))
