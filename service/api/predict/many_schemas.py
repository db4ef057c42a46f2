"""The bodies of POST /v1/predict: the same texts by several tasks."""

from typing import Annotated

from pydantic import BaseModel, Field, field_validator
from pydantic_core import PydanticCustomError

from service.api.schemas import MAX_REFERENCE, PredictOptions, PredictResponse

MAX_TASKS = 64  # of one request


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


class TaskError(BaseModel):
    """Why one task of several has no answer."""

    error: str
    error_type: str
    reason: str | None = None
    status: Annotated[int, Field(description="What `POST /v1/{task}/predict` would have answered with.")]


class ManyTimingsMs(BaseModel):
    """Milliseconds of the whole request."""

    tokenize: Annotated[float, Field(description="Once for all tasks of one max_length.")]
    total: float


class PredictManyResponse(BaseModel):
    """By the names that were given: what the task says, or why it says nothing."""

    results: dict[str, PredictResponse | TaskError]
    timings_ms: ManyTimingsMs
