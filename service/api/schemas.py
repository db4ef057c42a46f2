"""The bodies of requests and answers."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt
from pydantic_core import PydanticCustomError

from adapters.backbone.text_encoder import Truncation
from adapters.config import TaskType, TrainedTruncation
from service.core import TASK_NAME, Scope, find_name_fault


def _check_task_name(name: str) -> str:
    if fault := find_name_fault("task", name):
        raise PydanticCustomError("task_name", "{fault}", {"fault": fault})
    return name


TaskName = Annotated[
    str, AfterValidator(_check_task_name), Field(json_schema_extra={"pattern": f"^{TASK_NAME.pattern}$"})
]
KeyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._@:+-]([A-Za-z0-9._@:+ -]{0,61}[A-Za-z0-9._@:+-])?$")]


MAX_REFERENCE = 127  # characters of "task@version" or "task@alias"


class TextObject(BaseModel):
    """One input, spelled out."""

    model_config = ConfigDict(extra="forbid")

    text: str
    text_pair: str | None = None


Input = str | tuple[str, str] | TextObject


class PredictOptions(BaseModel):
    """Texts, and how to read them and to show what is found."""

    model_config = ConfigDict(extra="forbid")

    inputs: str | TextObject | Annotated[list[Input], Field(fail_fast=True)]
    top_k: Annotated[StrictInt, Field(ge=1, description="Only the k best labels in `scores`, best first.")] | None = (
        None
    )
    scores_as: Annotated[
        Literal["object", "list"],
        Field(
            description="`list`: `scores` is a list of `label` and `score`, best first. Objects keep no order in "
            "JavaScript (labels that are numbers), Go and Java."
        ),
    ] = "object"
    raw_scores: Annotated[StrictBool, Field(description="Logits in place of probabilities; no temperature.")] = False
    truncation: Annotated[
        Truncation | None,
        Field(
            description="Where an over-long text is cut: its end (`right`), its beginning (`left`) or its middle "
            "(`head-tail`); `error` answers 422 instead. By default as the task was trained."
        ),
    ] = None


class PredictRequest(PredictOptions):
    """Texts to classify. A flat list is a list of texts; a pair is nested or an object."""


Temperature = Annotated[float, Field(description="What logits are divided by before softmax or sigmoid.")]
TaskTruncation = Annotated[
    TrainedTruncation, Field(description="Where an over-long text is cut, unless the request says otherwise.")
]
Truncated = Annotated[bool, Field(description="The text was cut to the task's max_length.")]
NumTokens = Annotated[int, Field(description="Tokens that were read, special ones included.")]


class LabelScore(BaseModel):
    """A label, with its probability (raw: logit)."""

    label: str
    score: float


Scores = Annotated[dict[str, float] | list[LabelScore], Field(description="As `scores_as` asks.")]


class LabelPrediction(BaseModel):
    """Of a single_label task."""

    label: str
    score: float
    scores: Scores
    truncated: Truncated
    tokens: NumTokens


class LabelsPrediction(BaseModel):
    """Of a multi_label task: the labels of 0.5 and more, and every label's own probability."""

    labels: list[str]
    scores: Scores
    truncated: Truncated
    tokens: NumTokens


class ValuePrediction(BaseModel):
    """Of a regression."""

    value: float
    truncated: Truncated
    tokens: NumTokens


class TimingsMs(BaseModel):
    """Milliseconds in each stage."""

    tokenize: float
    queue: float
    inference: float


class PredictResponse(BaseModel):
    """One prediction per input, in order, and which version gave them."""

    task: str
    version: int
    digest: Annotated[str, Field(description="SHA-256 of the adapter file that answered.")]
    predictions: list[LabelPrediction | LabelsPrediction | ValuePrediction]
    timings_ms: TimingsMs


class TaskInfo(BaseModel):
    """What is live under a task's name."""

    task: str
    version: int
    digest: str
    type: TaskType
    labels: list[str]
    pair: bool
    max_length: int
    truncation: TaskTruncation
    temperature: Temperature
    metrics: dict[str, float]


class TaskList(BaseModel):
    """Every task that answers now."""

    tasks: list[TaskInfo]


class NewKeyRequest(BaseModel):
    """What a new key shall be good for."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[KeyName, Field(description="For people: who or what will use it.")]
    scopes: Annotated[list[Scope], Field(fail_fast=True, min_length=1, description="`admin` includes the others.")]
    tasks: Annotated[
        list[TaskName], Field(fail_fast=True, max_length=1000, description="Only these; empty: every task.")
    ] = []


class KeyInfo(BaseModel):
    """A key, without its secret part, which nobody has but its user."""

    id: Annotated[str, Field(description="Public: it stands in the audit, and in the key itself.")]
    name: str
    scopes: list[Scope]
    tasks: list[str]
    created_at: datetime
    revoked_at: datetime | None


class NewKey(KeyInfo):
    """A new key, shown this once."""

    key: str


class KeyList(BaseModel):
    """Every key, oldest first."""

    keys: list[KeyInfo]


class AuditEntry(BaseModel):
    """One change."""

    id: int
    at: datetime
    actor: Annotated[str, Field(description="The key's name and id, or what made the change.")]
    action: str
    task: str | None
    version: int | None
    alias: str | None
    detail: str
    source: Annotated[str, Field(description="Address that the request came from.")]


class AuditPage(BaseModel):
    """Changes, newest first; ask for more with `before` = the last one's id."""

    entries: list[AuditEntry]


class Health(BaseModel):
    """Answer of a health check."""

    status: Literal["ok", "starting", "draining"]


class Ready(Health):
    """What this server serves."""

    backbone: str
    device: str
    num_tasks: int
    registry_revision: int


class ErrorBody(BaseModel):
    """Every error has this shape."""

    error: str
    error_type: str
    reason: Annotated[str, Field(description="Of a refused upload or key: a stable code.")] | None = None
