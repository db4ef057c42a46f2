"""Bodies of POST /v1/{task}/predict and POST /v1/predict."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, field_validator
from pydantic_core import PydanticCustomError

from adapters.backbone.text_encoder import Truncation
from adapters.config import MAX_KEY_BYTES

MAX_REFERENCE = 127  # characters of "task@version" or "task@alias"
MAX_TASKS = 64  # of one request
Context = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(min_length=1, max_length=MAX_KEY_BYTES)]],
    Field(
        max_length=MAX_TASKS,
        description="For a task with gates: the key that chooses the adapter, by the name of its field, as in "
        '`{"user": "u17"}`. An unknown or missing key gets the mean gate; `gate` of the answer says which was used. '
        "A key has at most 256 bytes in UTF-8.",
    ),
]


class TextObject(BaseModel):
    """One input as an object."""

    model_config = ConfigDict(extra="forbid")

    text: str
    text_pair: str | None = None


Input = str | tuple[str, str] | TextObject


class PredictOptions(BaseModel):
    """Texts, with options for tokenizing them and for showing the answer."""

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
    raw_scores: Annotated[StrictBool, Field(description="Logits instead of probabilities; no temperature.")] = False
    truncation: Annotated[
        Truncation | None,
        Field(
            description="Where an over-long text is cut: its end (`right`), its beginning (`left`) or its middle "
            "(`head-tail`); `error` answers 422 instead. By default as the task was trained."
        ),
    ] = None
    context: Context | None = None


class PredictRequest(PredictOptions):
    """Texts to classify. A flat list is a list of texts; a pair is nested or an object."""


class PredictManyRequest(PredictOptions):
    """Texts to classify by several tasks."""

    tasks: Annotated[
        list[Annotated[str, Field(max_length=MAX_REFERENCE)]],
        Field(
            fail_fast=True,
            min_length=1,
            max_length=MAX_TASKS,
            json_schema_extra={"uniqueItems": True},
            description="As in the path of `POST /v1/{task}/predict`: `sst2`, `sst2@7`, `sst2@canary`.",
        ),
    ]

    @field_validator("tasks")
    @classmethod
    def _each_once(cls, tasks: list[str]) -> list[str]:
        if len(set(tasks)) < len(tasks):
            raise PydanticCustomError("duplicate_tasks", "each task may be named once")
        return tasks


class LabelScore(BaseModel):
    """A label with its probability (`raw_scores`: with its logit)."""

    label: str
    score: float


Scores = Annotated[dict[str, float] | list[LabelScore], Field(description="An object or a list, by `scores_as`.")]
Truncated = Annotated[bool, Field(description="The text was cut to the task's max_length.")]
NumTokens = Annotated[int, Field(description="Tokens of the input, special tokens included.")]


class LabelPrediction(BaseModel):
    """Prediction of a single_label task."""

    label: str
    score: float
    scores: Scores
    truncated: Truncated
    tokens: NumTokens


class LabelsPrediction(BaseModel):
    """Prediction of a multi_label task: the labels of 0.5 and more, and every label's own probability."""

    labels: list[str]
    scores: Scores
    truncated: Truncated
    tokens: NumTokens


class ValuePrediction(BaseModel):
    """Prediction of a regression."""

    value: float
    truncated: Truncated
    tokens: NumTokens


class TimingsMs(BaseModel):
    """Milliseconds in each stage."""

    tokenize: float
    queue: float
    inference: float


class PredictResponse(BaseModel):
    """One prediction per input, in order, with the version that computed them."""

    task: str
    version: int
    digest: Annotated[str, Field(description="SHA-256 of the version's adapter file.")]
    gate: Annotated[
        str | None,
        Field(
            description="Only for a task with gates: the field of the context whose key chose the adapter, or `mean` "
            "if the key is unknown or missing.",
            exclude_if=lambda gate: gate is None,
        ),
    ] = None
    predictions: list[LabelPrediction | LabelsPrediction | ValuePrediction]
    timings_ms: TimingsMs


class TaskError(BaseModel):
    """The error of one task of several."""

    error: str
    error_type: str
    reason: str | None = None
    status: Annotated[int, Field(description="The status that `POST /v1/{task}/predict` would have answered with.")]


class ManyTimingsMs(BaseModel):
    """Milliseconds of the whole request."""

    tokenize: Annotated[float, Field(description="Once for all tasks of one max_length.")]
    total: float


class PredictManyResponse(BaseModel):
    """The answer or the error of each task, by the name in the request."""

    results: dict[str, PredictResponse | TaskError]
    timings_ms: ManyTimingsMs
