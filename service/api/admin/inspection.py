"""Routes that help a person to judge a version: example inputs, and counts of its answers."""

import asyncio

from fastapi import APIRouter

from service.api import examples
from service.api.admin.schemas import GoldenInput, LabelCount, TaskActivity, VersionActivity, VersionExamples
from service.api.admin.views import entry_of
from service.api.deps import State
from service.api.http.auth import guarded_router
from service.api.http.body import BodyLimits
from service.api.http.paths import Task, Version
from service.core import PublishedVersion
from service.inference.label_counts import Counted
from service.registry.deadline import answer_deadline
from service.settings import Settings

MAX_LABELS = 50  # of one version in an answer

_EXAMPLES = {"examples": [{"inputs": "a warm, funny and moving film"}]}
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


def inspection_router(settings: Settings) -> APIRouter:
    """The two routes."""
    limits = BodyLimits(settings.max_body_bytes, settings.body_timeout_s)
    router = guarded_router("upload", limits, prefix="/admin/v1/tasks", tags=["versions"])
    errors = examples.ADMIN_ERRORS

    @router.get(
        "/{task}/versions/{version}/examples",
        summary="Show example inputs",
        responses={200: examples.shown(_EXAMPLES), **errors},
    )
    async def get_examples(task: Task, version: Version, state: State) -> VersionExamples:
        """The inputs of the golden examples in the adapter file: texts of its validation data."""
        entry_of(state, task).version(version)
        async with answer_deadline():
            metadata = await asyncio.to_thread(state.registry.metadata, task, version)
        return VersionExamples(examples=[GoldenInput(inputs=example.inputs) for example in metadata.examples])

    @router.get("/{task}/activity", summary="Count answers", responses={200: examples.shown(_ACTIVITY), **errors})
    async def get_activity(task: Task, state: State) -> TaskActivity:
        """How many inputs each version has answered with each label since this server started, most frequent label
        first; for a regression the mean value. Versions that have answered nothing are left out."""
        versions = entry_of(state, task).versions.values()
        counted = [(version, state.label_counts.of(version)) for version in versions]
        return TaskActivity(task=task, versions=[_activity(version, one) for version, one in counted if one])

    return router


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
