"""Aliases of a task: point one at a version, roll `live` back, remove one."""

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Request, Response
from pydantic.json_schema import SkipJsonSchema

from service.api import examples
from service.api.admin.schemas import AliasTarget, MovedAlias
from service.api.admin.views import entry_of, moved_alias
from service.api.deps import State
from service.api.http.auth import Caller, client_address, guarded_router
from service.api.http.body import BodyLimits
from service.api.http.etag import alias_etag, expected_version
from service.api.http.paths import Alias, AllowIncompatible, Task
from service.auth.permissions import actor_of
from service.registry.deadline import answer_deadline
from service.settings import Settings

IfMatch = Annotated[
    str | SkipJsonSchema[None], Header(description='The version it points to now: "3"', pattern='^"?[0-9]{1,15}"?$')
]
IfNoneMatch = Annotated[Literal["*"] | SkipJsonSchema[None], Header(description="`*`: only if it does not exist yet")]
_MOVED = examples.failing("If-Match differs", "alias 'live' points to 4, not to 3", "precondition_failed")


def alias_routers(settings: Settings) -> list[APIRouter]:
    """The routes for who may upload, and those for administrators."""
    limits = BodyLimits.of(settings)
    uploader = guarded_router("upload", limits, prefix="/admin/v1/tasks", tags=["aliases"])
    administrator = guarded_router("admin", limits, prefix="/admin/v1/tasks", tags=["aliases"])

    @uploader.put(
        "/{task}/aliases/{alias}",
        summary="Point an alias at a version",
        responses={
            200: examples.shown(examples.MOVED_ALIAS),
            409: examples.INCOMPATIBLE,
            412: _MOVED,
            **examples.WRITE_ERRORS,
        },
    )
    async def set_alias(
        task: Task,
        alias: Alias,
        target: AliasTarget,
        request: Request,
        response: Response,
        state: State,
        caller: Caller,
        if_match: IfMatch = None,
        if_none_match: IfNoneMatch = None,
        allow_incompatible: AllowIncompatible = False,
    ) -> MovedAlias:
        """Activate a version (`live`) or move any other alias, by compare-and-set where If-Match is given. The
        version is loaded before the alias moves. 409 where it would break the clients of the live version, or where
        its bytes are damaged."""
        version = entry_of(state, task).version(target.version)
        expected = expected_version(if_match, if_none_match)
        async with answer_deadline():
            await state.adapter_cache.warm(version)
            moved = await asyncio.to_thread(
                state.registry.set_alias,
                task,
                alias,
                target.version,
                **expected,
                allow_incompatible=allow_incompatible,
                actor=actor_of(caller),
                source=client_address(request),
            )
            await state.follower.refresh()
        response.headers["ETag"] = alias_etag(target.version)
        return moved_alias(entry_of(state, task), moved.changes)

    @uploader.post(
        "/{task}/rollback",
        summary="Undo the last activation",
        responses={
            200: examples.shown(examples.MOVED_ALIAS),
            409: examples.failing("Nothing to go back to", "task 'sst2' has no earlier live version", "alias_conflict"),
            412: _MOVED,
            **examples.WRITE_ERRORS,
        },
    )
    async def rollback(
        task: Task,
        request: Request,
        state: State,
        caller: Caller,
        if_match: IfMatch = None,
        allow_incompatible: AllowIncompatible = False,
    ) -> MovedAlias:
        """Point `live` at the version that it pointed to before, which `rollback_to` of the task names; with
        If-Match, only from where it is believed to be, so that two who roll back at once go back one step and not
        two. 409 where there is none, or where it would break the clients of the live version."""
        async with answer_deadline():
            moved = await asyncio.to_thread(
                state.registry.rollback,
                task,
                **expected_version(if_match, None),
                allow_incompatible=allow_incompatible,
                actor=actor_of(caller),
                source=client_address(request),
            )
            await state.follower.refresh()
        return moved_alias(entry_of(state, task), moved.changes)

    @administrator.delete(
        "/{task}/aliases/{alias}", status_code=204, summary="Remove an alias", responses=examples.WRITE_ERRORS
    )
    async def delete_alias(task: Task, alias: Alias, request: Request, state: State, caller: Caller) -> None:
        """Remove an alias; without `live` the task answers only by version. Needed before a task's last version
        can be deleted."""
        async with answer_deadline():
            await asyncio.to_thread(
                state.registry.delete_alias, task, alias, actor=actor_of(caller), source=client_address(request)
            )
            await state.follower.refresh()

    return [uploader, administrator]
