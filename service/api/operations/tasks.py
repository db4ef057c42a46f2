"""GET /v1/tasks: the tasks that clients can use."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from adapters.config import TaskType
from service.api.http.auth import OptionalCaller, documented, predict_scope, protected_route
from service.api.http.openapi import (
    KEY_ERRORS,
    UNKNOWN_TASK,
    ContextField,
    Reference,
    TaskTruncation,
    Temperature,
    shown,
)
from service.api.predict.examples import DIGEST
from service.api.state import State
from service.auth.permissions import permits
from service.core import PublishedVersion
from service.settings import Settings

_TASK: dict[str, Any] = {
    "task": "sst2",
    "version": 3,
    "digest": DIGEST,
    "type": "single_label",
    "labels": ["negative", "positive"],
    "pair": False,
    "max_length": 128,
    "truncation": "right",
    "temperature": 1.35,
    "context": None,
    "metrics": {"accuracy": 0.9},
}


class TaskInfo(BaseModel):
    """A task's version."""

    task: str
    version: int
    digest: Annotated[str, Field(description="SHA-256 of the version's adapter file.")]
    type: TaskType
    labels: list[str]
    pair: bool
    max_length: int
    truncation: TaskTruncation
    temperature: Temperature
    context: ContextField
    metrics: dict[str, float]


class TaskList(BaseModel):
    """Every task with a live version."""

    tasks: list[TaskInfo]


def task_router(settings: Settings) -> APIRouter:
    """Return the routes; with ADAKRON_REQUIRE_KEY they require a key."""
    route = protected_route(predict_scope(settings), None)
    errors = KEY_ERRORS if settings.require_key else {}
    router = APIRouter(route_class=route, tags=["tasks"], dependencies=documented(settings))

    @router.get("/v1/tasks", summary="List the tasks", responses={200: shown({"tasks": [_TASK]}), **errors})
    async def list_tasks(state: State, caller: OptionalCaller) -> TaskList:
        """Every task with a live version, by name; if keys are required, only the tasks that the key is for."""
        live = state.follower.snapshot.live()
        return TaskList(tasks=[_info(version) for version in live if caller is None or permits(caller, version.task)])

    @router.get(
        "/v1/tasks/{task}", summary="Describe a task", responses={200: shown(_TASK), 404: UNKNOWN_TASK, **errors}
    )
    async def get_task(task: Reference, state: State) -> TaskInfo:
        """One task; `sst2@7` and `sst2@canary` work as in predict."""
        return _info(state.follower.snapshot.resolve(task))

    return router


def _info(version: PublishedVersion) -> TaskInfo:
    return TaskInfo(
        task=version.task,
        version=version.version,
        digest=version.digest,
        type=version.spec.type,
        labels=list(version.spec.labels),
        pair=version.spec.pair,
        max_length=version.spec.max_length,
        truncation=version.spec.truncation,
        temperature=version.spec.temperature,
        context=version.context_field,
        metrics=dict(version.metrics),
    )
