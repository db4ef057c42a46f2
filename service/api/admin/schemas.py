"""The bodies of requests and answers about versions and aliases."""

from datetime import datetime
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from adapters.config import TaskType
from service.api.schemas import ErrorBody, TaskTruncation, Temperature
from service.core import MAX_WEIGHT, MIN_WEIGHT

T = TypeVar("T")


class Change(BaseModel, Generic[T]):
    """One property, in the live version and in the other one."""

    before: T
    after: T


class ChangesInfo(BaseModel):
    """How a version differs from the live one, as its clients see it."""

    live: Annotated[int, Field(description="The version compared with.")]
    compatible: Annotated[bool, Field(description="Nothing of `breaking`: it may become live unasked.")]
    breaking: Annotated[list[str], Field(description="In words: what clients cannot cope with.")]
    notes: Annotated[list[str], Field(description="In words: what clients can cope with and should know.")]
    type: Change[TaskType] | None
    pair: Change[bool] | None
    labels_removed: list[str]
    labels_added: list[str]
    labels_reordered: Annotated[bool, Field(description="Labels that stay have another place among the outputs.")]
    max_length: Change[int] | None


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
    num_parameters: Annotated[int, Field(description="Of the adapters, without the head.")]
    num_bytes: Annotated[int, Field(description="Size of the adapter file.")]
    metrics: dict[str, float]
    quarantined: Annotated[bool, Field(description="Its stored bytes are damaged; upload the same file to repair it.")]
    changes: Annotated[
        ChangesInfo | None,
        Field(description="What clients would meet if it became live; null where nothing changes for them."),
    ]


class UploadResponse(VersionInfo):
    """The version that an upload made, or that these bytes were already."""

    live: Annotated[bool, Field(description="`live` points to it.")]
    changes: Annotated[
        ChangesInfo | None,
        Field(description="Against the version that was live before; null where nothing changes for clients."),
    ]


class AdminTask(BaseModel):
    """Every version of a task, and where its aliases point."""

    task: str
    versions: list[VersionInfo]
    aliases: dict[str, int]
    weight: Annotated[float, Field(description="Its share of the engine where several tasks want it.")]
    rollback_to: Annotated[
        int | None, Field(description="The version that a rollback makes live; null where there is none.")
    ]


class MovedAlias(AdminTask):
    """The task after one of its aliases has moved."""

    changes: Annotated[
        ChangesInfo | None,
        Field(
            description="What differs between the version that the alias points to now and the one that was live "
            "before; null where nothing changes for clients."
        ),
    ]


class AdminTaskList(BaseModel):
    """Every task of the registry."""

    tasks: list[AdminTask]


class GoldenInput(BaseModel):
    """One example input."""

    inputs: Annotated[str | tuple[str, str], Field(description="A text, or a pair of texts.")]


class VersionExamples(BaseModel):
    """Inputs that a version was tried on when it was trained."""

    examples: list[GoldenInput]


class LabelCount(BaseModel):
    """How many inputs got a label."""

    label: str
    count: int


class VersionActivity(BaseModel):
    """Counts of one version's answers since the server started."""

    version: int
    num_inputs: int
    labels: Annotated[list[LabelCount], Field(description="The most frequent ones, at most 50.")]
    num_other_labels: Annotated[int, Field(description="Labels that are left out of `labels`.")]
    mean: Annotated[float | None, Field(description="The mean value of a regression.")]


class TaskActivity(BaseModel):
    """Counts of the answers of a task's versions since the server started."""

    task: str
    versions: list[VersionActivity]


class AliasTarget(BaseModel):
    """Where an alias shall point."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[StrictInt, Field(ge=1)]


class NewWeight(BaseModel):
    """The share of the engine that a task shall have where several want it; every task begins with 1."""

    model_config = ConfigDict(extra="forbid")

    weight: Annotated[float, Field(strict=True, ge=MIN_WEIGHT, le=MAX_WEIGHT, allow_inf_nan=False)]


class ConflictBody(ErrorBody):
    """409; an upload that is `incompatible` is published all the same, as this version."""

    version: Annotated[int | None, Field(description="Of `incompatible`: the version that is not made live.")] = None
    digest: str | None = None
    changes: ChangesInfo | None = None
