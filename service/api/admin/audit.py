"""GET /admin/v1/audit: every change with its time, its key and its client."""

import asyncio
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from service.api.admin.examples import STORAGE_ERRORS
from service.api.http.auth import protected_router
from service.api.http.body import BodyLimits
from service.api.http.openapi import BODY_ERRORS, KEY_ERRORS, TaskName, shown
from service.api.predict.examples import DIGEST
from service.api.state import State
from service.registry.deadline import answer_deadline
from service.settings import Settings

_MAX_ID = 2**31 - 1  # of an integer column
_ENTRY = {
    "id": 17,
    "at": "2026-11-01T12:00:00Z",
    "actor": "ci (3f9a1c22d0b4)",
    "action": "publish",
    "task": "sst2",
    "version": 3,
    "alias": None,
    "detail": DIGEST,
    "source": "10.0.0.7",
}


class AuditEntry(BaseModel):
    """One change."""

    id: int
    at: datetime
    actor: Annotated[str, Field(description="The key's name and id, or the program that made the change.")]
    action: str
    task: str | None
    version: int | None
    alias: str | None
    detail: str
    source: Annotated[str, Field(description="The client's address.")]


class AuditPage(BaseModel):
    """Changes, newest first; for older ones set `before` to the last one's id."""

    entries: list[AuditEntry]


def audit_router(settings: Settings) -> APIRouter:
    """Return the route, for administrators."""
    router = protected_router("admin", BodyLimits.from_settings(settings), prefix="/admin/v1", tags=["audit"])

    @router.get(
        "/audit",
        summary="Read the audit log",
        responses={
            200: shown({"entries": [_ENTRY]}),
            **KEY_ERRORS,
            422: BODY_ERRORS[422],
            503: STORAGE_ERRORS[503],
        },
    )
    async def read_audit(
        state: State,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        before: Annotated[int | None, Query(ge=1, le=_MAX_ID, description="Only entries older than this id")] = None,
        task: Annotated[TaskName | None, Query(description="Only entries of this task")] = None,
    ) -> AuditPage:
        """Every change, newest first. Entries are never removed."""
        async with answer_deadline():
            rows = await asyncio.to_thread(state.registry.audit, limit, before=before, task=task)
        return AuditPage(entries=[AuditEntry.model_validate(row, from_attributes=True) for row in rows])

    return router
