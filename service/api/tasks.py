"""GET /v1/tasks: what clients may ask for."""

from fastapi import APIRouter

from service.api.deps import State
from service.api.examples import PREDICT_ERRORS, TASK, shown
from service.api.schemas import TaskInfo, TaskList
from service.core import PublishedVersion

router = APIRouter(tags=["tasks"])


@router.get("/v1/tasks", summary="List the tasks", responses={200: shown({"tasks": [TASK]})})
async def list_tasks(state: State) -> TaskList:
    """Every task that answers now, by name."""
    return TaskList(tasks=[_info(version) for version in state.follower.snapshot.live()])


@router.get("/v1/tasks/{task}", summary="Describe a task", responses={200: shown(TASK), 404: PREDICT_ERRORS[404]})
async def get_task(task: str, state: State) -> TaskInfo:
    """One of them; `sst2@7` and `sst2@canary` work as in predict."""
    return _info(state.follower.snapshot.resolve(task))


def _info(version: PublishedVersion) -> TaskInfo:
    return TaskInfo(
        task=version.task,
        version=version.version,
        digest=version.digest,
        type=version.spec.type,
        labels=list(version.spec.labels),
        pair=version.spec.pair,
        max_length=version.spec.max_length,
        metrics=dict(version.metrics),
    )
