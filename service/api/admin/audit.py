"""GET /admin/v1/audit: who changed what, when, from where."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query

from service.api import examples
from service.api.deps import State
from service.api.http.auth import Caller, guarded_router
from service.api.http.body import BodyLimits
from service.api.schemas import AuditEntry, AuditPage, TaskName
from service.registry.deadline import answer_deadline
from service.settings import Settings

_MAX_ID = 2**31 - 1  # of an integer column


def audit_router(settings: Settings) -> APIRouter:
    """The one route."""
    limits = BodyLimits.of(settings)
    router = guarded_router("admin", limits, prefix="/admin/v1", tags=["audit"])

    @router.get(
        "/audit",
        summary="Read the audit log",
        responses={
            200: examples.shown({"entries": [examples.AUDIT_ENTRY]}),
            **examples.KEY_ERRORS,
            422: examples.BODY_ERRORS[422],
            503: examples.STORAGE_ERRORS[503],
        },
    )
    async def read_audit(
        state: State,
        caller: Caller,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        before: Annotated[int | None, Query(ge=1, le=_MAX_ID, description="Only entries older than this id")] = None,
        task: Annotated[TaskName | None, Query(description="Only of this task")] = None,
    ) -> AuditPage:
        """Every change, newest first. Nothing is ever removed from it."""
        async with answer_deadline():
            rows = await asyncio.to_thread(state.registry.audit, limit, before=before, task=task)
        return AuditPage(entries=[AuditEntry.model_validate(row, from_attributes=True) for row in rows])

    return router
