"""Aliases of a task: point one at a version, roll `live` back, remove one."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Response
from pydantic.json_schema import SkipJsonSchema

from service.api.admin.changes import Writer, find_entry
from service.api.admin.examples import INCOMPATIBLE, MOVED_ALIAS, WRITE_ERRORS
from service.api.admin.schemas import AliasTarget, MovedAlias, moved_alias
from service.api.http.auth import protected_router
from service.api.http.body import BodyLimits
from service.api.http.openapi import Alias, AllowIncompatible, Task, failing, shown
from service.api.state import LATE_S, State
from service.errors import PreconditionFailed
from service.registry.deadline import answer_deadline
from service.settings import Settings

IfMatch = Annotated[
    str | SkipJsonSchema[None],
    Header(description='The version that the alias points to now: "3"', pattern='^"?[0-9]{1,15}"?$'),
]
IfNoneMatch = Annotated[Literal["*"] | SkipJsonSchema[None], Header(description="`*`: only if it does not exist yet")]
_MOVED = failing("If-Match differs", "alias 'live' points to 4, not to 3", "precondition_failed")
_NO_ROLLBACK = failing("Nothing to go back to", "task 'sst2' has no earlier live version", "alias_conflict")


def alias_routers(settings: Settings) -> list[APIRouter]:
    """Return the routes for the scope upload, and those for administrators."""
    limits = BodyLimits.from_settings(settings)
    uploader = protected_router("upload", limits, prefix="/admin/v1/tasks", tags=["aliases"])
    administrator = protected_router("admin", limits, prefix="/admin/v1/tasks", tags=["aliases"])

    @uploader.put(
        "/{task}/aliases/{alias}",
        summary="Point an alias at a version",
        responses={200: shown(MOVED_ALIAS), 409: INCOMPATIBLE, 412: _MOVED, **WRITE_ERRORS},
    )
    async def set_alias(
        task: Task,
        alias: Alias,
        target: AliasTarget,
        response: Response,
        state: State,
        writer: Writer,
        if_match: IfMatch = None,
        if_none_match: IfNoneMatch = None,
        allow_incompatible: AllowIncompatible = False,
    ) -> MovedAlias:
        """Activate a version (`live`) or move any other alias; with If-Match only from that version.

        The version is loaded before the alias moves. 409 if the change would break clients of the live version,
        or if the version's bytes are damaged.
        """
        version = find_entry(state, task).version(target.version)
        expected = _expected_version(if_match, if_none_match)
        async with answer_deadline(lambda: state.find_hang(LATE_S)):
            await state.dispatcher.warm(version.adapter)
            moved = await writer.write(
                state.registry.set_alias,
                task,
                alias,
                target.version,
                **expected,
                allow_incompatible=allow_incompatible,
            )
        response.headers["ETag"] = f'"{target.version}"'
        return moved_alias(find_entry(state, task), moved.changes)

    @uploader.post(
        "/{task}/rollback",
        summary="Undo the last activation",
        responses={200: shown(MOVED_ALIAS), 409: _NO_ROLLBACK, 412: _MOVED, **WRITE_ERRORS},
    )
    async def rollback(
        task: Task,
        state: State,
        writer: Writer,
        if_match: IfMatch = None,
        allow_incompatible: AllowIncompatible = False,
    ) -> MovedAlias:
        """Point `live` at the version that it pointed to before, which is `rollback_to` of the task.

        With If-Match, two rollbacks at the same time go back one step, not two. 409 if there is no such
        version, or if it would break clients of the live version.
        """
        moved = await writer.write(
            state.registry.rollback,
            task,
            **_expected_version(if_match, None),
            allow_incompatible=allow_incompatible,
        )
        return moved_alias(find_entry(state, task), moved.changes)

    @administrator.delete("/{task}/aliases/{alias}", status_code=204, summary="Remove an alias", responses=WRITE_ERRORS)
    async def delete_alias(task: Task, alias: Alias, state: State, writer: Writer) -> None:
        """Remove an alias; without `live` the task answers only by version.

        The last version of a task can be deleted only after its aliases.
        """
        await writer.write(state.registry.delete_alias, task, alias)

    return [uploader, administrator]


def _expected_version(if_match: str | None, if_none_match: str | None) -> dict[str, Any]:
    """Return the option `expected` of Registry.set_alias: a version, None for "does not exist yet", or no option.

    `if_match` is a number with or without quotes. Raises PreconditionFailed when both headers are given.
    """
    if if_match is not None and if_none_match is not None:
        raise PreconditionFailed("If-Match and If-None-Match cannot both hold; send one of them")
    if if_none_match is not None:
        return {"expected": None}
    return {} if if_match is None else {"expected": int(if_match.strip('"'))}
