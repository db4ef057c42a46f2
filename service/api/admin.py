"""The admin API: publish, list, activate, roll back, delete, download. Every route needs the admin key."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.exceptions import HTTPException

from service.api import examples
from service.api.body_limit import limited_route
from service.api.deps import Admin, ServerState, State
from service.api.etag import alias_etag, expected_version
from service.api.schemas import AdminTask, AdminTaskList, AliasTarget, UploadResponse, VersionInfo
from service.core import LIVE, PublishedVersion
from service.registry import TaskEntry, unknown_task

ADAPTER_MEDIA_TYPE = "application/octet-stream"
_ERRORS = examples.ADMIN_ERRORS
_UPLOAD_ERRORS: dict[int | str, dict[str, Any]] = {
    **_ERRORS,
    413: examples.failing("Over the cap", "the body is too large (ADAKRON_MAX_UPLOAD_BYTES)", "content_too_large"),
    415: examples.failing("Not raw bytes", "send the file as application/octet-stream", "unsupported_media_type"),
    422: examples.failing(
        "Refused; nothing is stored", "tensor head.weight is missing", "upload_refused", reason="tensor_missing"
    ),
}


def admin_router(max_upload_bytes: int) -> APIRouter:
    """The routes, with the cap on uploads."""
    router = APIRouter(prefix="/admin/v1/tasks", tags=["admin"], route_class=limited_route(max_upload_bytes))

    @router.post(
        "/{task}/versions",
        status_code=201,
        summary="Upload an adapter",
        responses={
            200: examples.shown(examples.VERSION | {"live": True}, "These bytes are a version already"),
            201: examples.shown(examples.VERSION | {"live": True}, "Published"),
            **_UPLOAD_ERRORS,
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {ADAPTER_MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def upload(
        task: str,
        request: Request,
        response: Response,
        state: State,
        actor: Admin,
        activate: Annotated[bool, Query(description="Point `live` at it once it is warm.")] = True,
    ) -> UploadResponse:
        """Check the adapter file in the body, publish it as the next version of `task`, and make it live: the
        answer comes when it serves. The same bytes again give 200 and the same version."""
        _require_raw_bytes(request)
        version, created = await state.uploads.upload(
            task, await request.body(), activate=activate, actor=actor, source=_source(request)
        )
        response.status_code = 201 if created else 200
        live = _entry(state, task).aliases.get(LIVE) == version.version
        return UploadResponse(**_version_info(version).model_dump(), live=live)

    @router.get(
        "",
        summary="List everything",
        responses={200: examples.shown({"tasks": [examples.ADMIN_TASK]}), 401: _ERRORS[401]},
    )
    async def list_tasks(state: State, actor: Admin) -> AdminTaskList:
        """Every task with its versions and aliases."""
        return AdminTaskList(tasks=[_admin_task(entry) for entry in state.follower.snapshot.tasks.values()])

    @router.get("/{task}", summary="Show a task", responses={200: examples.shown(examples.ADMIN_TASK), **_ERRORS})
    async def get_task(task: str, state: State, actor: Admin) -> AdminTask:
        """One task with its versions and aliases."""
        return _admin_task(_entry(state, task))

    @router.get(
        "/{task}/versions/{version}",
        summary="Show a version",
        responses={200: examples.shown(examples.VERSION), **_ERRORS},
    )
    async def get_version(task: str, version: int, state: State, actor: Admin) -> VersionInfo:
        """One version."""
        return _version_info(_entry(state, task).version(version))

    @router.get(
        "/{task}/versions/{version}/adapter",
        summary="Download an adapter",
        response_class=Response,
        responses={200: {"description": "The adapter file", "content": {ADAPTER_MEDIA_TYPE: {}}}, **_ERRORS},
    )
    async def download(task: str, version: int, state: State, actor: Admin) -> Response:
        """Exactly the bytes that were uploaded; the ETag is their SHA-256."""
        found = _entry(state, task).version(version)
        data = await asyncio.to_thread(state.registry.read_adapter, found.digest)
        headers = {
            "ETag": f'"{found.digest}"',
            "Content-Disposition": f'attachment; filename="{found.task}-{found.version}.safetensors"',
        }
        return Response(data, media_type=ADAPTER_MEDIA_TYPE, headers=headers)

    @router.put(
        "/{task}/aliases/{alias}",
        summary="Point an alias at a version",
        responses={
            200: examples.shown(examples.ADMIN_TASK),
            412: examples.failing("If-Match differs", "alias 'live' points to 4, not to 3", "precondition_failed"),
            **_ERRORS,
        },
    )
    async def set_alias(
        task: str,
        alias: str,
        target: AliasTarget,
        request: Request,
        response: Response,
        state: State,
        actor: Admin,
        if_match: Annotated[str | None, Header(description='The version it points to now: "3"')] = None,
        if_none_match: Annotated[str | None, Header(description="`*`: only if it does not exist yet")] = None,
    ) -> AdminTask:
        """Activate a version (`live`) or move any other alias, by compare-and-set where If-Match is given. The
        version is loaded before the alias moves."""
        version = _entry(state, task).version(target.version)
        await state.slots.warm(version)
        await asyncio.to_thread(
            state.registry.set_alias,
            task,
            alias,
            target.version,
            **expected_version(if_match, if_none_match),
            actor=actor,
            source=_source(request),
        )
        await state.follower.refresh()
        response.headers["ETag"] = alias_etag(target.version)
        return _admin_task(_entry(state, task))

    @router.delete(
        "/{task}/aliases/{alias}",
        status_code=204,
        summary="Remove an alias",
        responses=_ERRORS,
    )
    async def delete_alias(task: str, alias: str, request: Request, state: State, actor: Admin) -> None:
        """Remove an alias; without `live` the task answers only by version. Needed before a task's last version
        can be deleted."""
        await asyncio.to_thread(state.registry.delete_alias, task, alias, actor=actor, source=_source(request))
        await state.follower.refresh()

    @router.post(
        "/{task}/rollback",
        summary="Undo the last activation",
        responses={
            200: examples.shown(examples.ADMIN_TASK),
            409: examples.failing("Nothing to go back to", "task 'sst2' has no earlier live version", "alias_conflict"),
            **_ERRORS,
        },
    )
    async def rollback(task: str, request: Request, state: State, actor: Admin) -> AdminTask:
        """Point `live` at the version that it pointed to before."""
        await asyncio.to_thread(state.registry.rollback, task, actor=actor, source=_source(request))
        await state.follower.refresh()
        return _admin_task(_entry(state, task))

    @router.delete(
        "/{task}/versions/{version}",
        status_code=204,
        summary="Delete a version",
        responses={
            409: examples.failing("An alias points to it", "alias 'live' points to version 3", "alias_conflict"),
            **_ERRORS,
        },
    )
    async def delete_version(task: str, version: int, request: Request, state: State, actor: Admin) -> None:
        """Remove a version that no alias points to. Its number is never used again."""
        await asyncio.to_thread(state.registry.delete_version, task, version, actor=actor, source=_source(request))
        await state.follower.refresh()

    return router


def _require_raw_bytes(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != ADAPTER_MEDIA_TYPE:
        raise HTTPException(415, f"send the file as it is, with Content-Type: {ADAPTER_MEDIA_TYPE}")
    if "content-encoding" in request.headers:
        raise HTTPException(415, "send the file as it is, without Content-Encoding")


def _source(request: Request) -> str:
    return request.client.host if request.client else ""


def _entry(state: ServerState, task: str) -> TaskEntry:
    snapshot = state.follower.snapshot
    entry = snapshot.tasks.get(task)
    if entry is None:
        raise unknown_task(task, list(snapshot.tasks))
    return entry


def _version_info(version: PublishedVersion) -> VersionInfo:
    return VersionInfo(
        task=version.task,
        version=version.version,
        digest=version.digest,
        created_at=version.created_at,
        type=version.spec.type,
        labels=list(version.spec.labels),
        pair=version.spec.pair,
        max_length=version.spec.max_length,
        num_parameters=version.num_parameters,
        num_bytes=version.num_bytes,
        metrics=dict(version.metrics),
    )


def _admin_task(entry: TaskEntry) -> AdminTask:
    versions = [_version_info(version) for _, version in sorted(entry.versions.items())]
    return AdminTask(task=entry.name, versions=versions, aliases=dict(entry.aliases))
