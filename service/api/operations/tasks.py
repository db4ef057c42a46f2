"""GET /v1/tasks: what clients may ask for."""

from fastapi import APIRouter

from service.api.deps import State
from service.api.examples import KEY_ERRORS, PREDICT_ERRORS, TASK, shown
from service.api.http.auth import AnyCaller, documented, guarded_route, predict_scope
from service.api.http.paths import Reference
from service.api.schemas import TaskInfo, TaskList
from service.auth.permissions import permits
from service.core import PublishedVersion
from service.settings import Settings


def task_router(settings: Settings) -> APIRouter:
    """The routes; with ADAKRON_REQUIRE_KEY they need a key."""
    route = guarded_route(predict_scope(settings), None)
    errors = KEY_ERRORS if settings.require_key else {}
    router = APIRouter(route_class=route, tags=["tasks"], dependencies=documented(settings))

    @router.get("/v1/tasks", summary="List the tasks", responses={200: shown({"tasks": [TASK]}), **errors})
    async def list_tasks(state: State, caller: AnyCaller) -> TaskList:
        """Every task that answers now, by name; where keys are needed, those that the key is for."""
        live = state.follower.snapshot.live()
        return TaskList(tasks=[_info(version) for version in live if caller is None or permits(caller, version.task)])

    @router.get(
        "/v1/tasks/{task}",
        summary="Describe a task",
        responses={200: shown(TASK), 404: PREDICT_ERRORS[404], **errors},
    )
    async def get_task(task: Reference, state: State) -> TaskInfo:
        """One of them; `sst2@7` and `sst2@canary` work as in predict."""
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
        metrics=dict(version.metrics),
    )
