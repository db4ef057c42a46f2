"""Tasks: list, show, set the weight, count the answers by label."""

from fastapi import APIRouter

from service.api.admin.changes import Writer, find_entry
from service.api.admin.examples import ADMIN_ERRORS, ADMIN_TASK, WRITE_ERRORS
from service.api.admin.schemas import (
    AdminTask,
    AdminTaskList,
    LabelCount,
    NewWeight,
    TaskActivity,
    VersionActivity,
    admin_task,
)
from service.api.http.auth import Caller, protected_router
from service.api.http.body import BodyLimits
from service.api.http.openapi import KEY_ERRORS, Task, shown
from service.api.state import State
from service.auth.permissions import permits
from service.core import PublishedVersion
from service.dispatch.label_counts import Counted
from service.settings import Settings

MAX_LABELS = 50  # of one version in an answer

_ACTIVITY = {
    "task": "sst2",
    "versions": [
        {
            "version": 3,
            "num_inputs": 120,
            "labels": [{"label": "positive", "count": 80}, {"label": "negative", "count": 40}],
            "num_other_labels": 0,
            "mean": None,
        }
    ],
}


def task_routers(settings: Settings) -> list[APIRouter]:
    """Return the routes for the scope upload, and those for administrators."""
    limits = BodyLimits.from_settings(settings)
    uploader = protected_router("upload", limits, prefix="/admin/v1/tasks", tags=["tasks"])
    administrator = protected_router("admin", limits, prefix="/admin/v1/tasks", tags=["tasks"])

    @uploader.get("", summary="List everything", responses={200: shown({"tasks": [ADMIN_TASK]}), **KEY_ERRORS})
    async def list_tasks(state: State, caller: Caller) -> AdminTaskList:
        """Every task that the key is for, with its versions and aliases."""
        entries = state.follower.snapshot.tasks.values()
        return AdminTaskList(tasks=[admin_task(entry) for entry in entries if permits(caller, entry.name)])

    @uploader.get("/{task}", summary="Show a task", responses={200: shown(ADMIN_TASK), **ADMIN_ERRORS})
    async def get_task(task: Task, state: State) -> AdminTask:
        """One task with its versions and aliases."""
        return admin_task(find_entry(state, task))

    @uploader.get("/{task}/activity", summary="Count answers", responses={200: shown(_ACTIVITY), **ADMIN_ERRORS})
    async def get_activity(task: Task, state: State) -> TaskActivity:
        """Count the inputs that each version has answered with each label since this server started.

        The most frequent label comes first; a regression has the mean value. Versions without answers are left out.
        """
        versions = find_entry(state, task).versions.values()
        counts = await state.dispatcher.label_counts([version.digest for version in versions])
        answered = [version for version in versions if version.digest in counts]
        return TaskActivity(task=task, versions=[_activity(version, counts[version.digest]) for version in answered])

    @administrator.put(
        "/{task}/weight", summary="Set a task's weight", responses={200: shown(ADMIN_TASK), **WRITE_ERRORS}
    )
    async def set_weight(task: Task, wanted: NewWeight, state: State, writer: Writer) -> AdminTask:
        """Set a task's share: under contention, weight 2 gets twice the tokens of weight 1."""
        find_entry(state, task)
        await writer.write(state.registry.set_weight, task, wanted.weight)
        return admin_task(find_entry(state, task))

    return [uploader, administrator]


def _activity(version: PublishedVersion, counted: Counted) -> VersionActivity:
    totals = zip(version.spec.labels, counted.totals, strict=False)  # a regression has no label, and one total
    labels = [LabelCount(label=label, count=int(total)) for label, total in totals]
    ranked = sorted(labels, key=lambda one: one.count, reverse=True)
    return VersionActivity(
        version=version.version,
        num_inputs=counted.num_inputs,
        labels=ranked[:MAX_LABELS],
        num_other_labels=len(ranked[MAX_LABELS:]),
        mean=None if version.spec.labels else float(counted.totals[0]) / counted.num_inputs,
    )
