"""The weight of a task: its share of the engine where several tasks want it."""

import asyncio

from fastapi import APIRouter, Request

from service.api import examples
from service.api.admin.schemas import AdminTask, NewWeight
from service.api.admin.views import admin_task, entry_of
from service.api.deps import State
from service.api.http.auth import Caller, client_address, guarded_router
from service.api.http.body import BodyLimits
from service.api.http.paths import Task
from service.auth.permissions import actor_of
from service.registry.deadline import answer_deadline
from service.settings import Settings


def weight_router(settings: Settings) -> APIRouter:
    """The route, for administrators."""
    limits = BodyLimits.of(settings)
    router = guarded_router("admin", limits, prefix="/admin/v1/tasks", tags=["tasks"])

    @router.put(
        "/{task}/weight",
        summary="Set a task's weight",
        responses={200: examples.shown(examples.ADMIN_TASK), **examples.WRITE_ERRORS},
    )
    async def set_weight(task: Task, wanted: NewWeight, request: Request, state: State, caller: Caller) -> AdminTask:
        """Where several tasks want the engine, one with weight 2 gets twice the tokens of one with weight 1."""
        entry_of(state, task)
        async with answer_deadline():
            await asyncio.to_thread(
                state.registry.set_weight, task, wanted.weight, actor=actor_of(caller), source=client_address(request)
            )
            await state.follower.refresh()
        return admin_task(entry_of(state, task))

    return router
