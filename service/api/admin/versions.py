"""Versions of a task: upload, list, show, download, delete."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.api import examples
from service.api.admin.schemas import AdminTask, AdminTaskList, UploadResponse, VersionInfo
from service.api.admin.uploaded import ADAPTER_MEDIA_TYPE, check_head, read_file
from service.api.admin.views import admin_task, entry_of, version_info
from service.api.deps import ServerState, State
from service.api.http.auth import Caller, client_address, guarded_router
from service.api.http.body import BodyLimits
from service.api.http.errors import STATUS
from service.api.http.paths import AllowIncompatible, Task, Version
from service.auth.permissions import actor_of, permits
from service.core import LIVE, ApiKey
from service.errors import ServiceError
from service.registry.deadline import answer_deadline
from service.settings import Settings

_ERRORS = examples.ADMIN_ERRORS


def version_routers(settings: Settings) -> list[APIRouter]:
    """The routes for who may upload, and those for administrators."""
    upload_limits = BodyLimits(settings.max_upload_bytes, settings.body_timeout_s)
    body_limits = BodyLimits.of(settings)
    uploader = guarded_router("upload", None, prefix="/admin/v1/tasks", tags=["versions"])
    administrator = guarded_router("admin", body_limits, prefix="/admin/v1/tasks", tags=["versions"])

    @uploader.post(
        "/{task}/versions",
        status_code=201,
        summary="Upload an adapter",
        responses={
            200: examples.shown(examples.VERSION | {"live": True}, "These bytes are a version already"),
            201: examples.shown(examples.VERSION | {"live": True}, "Published"),
            **examples.UPLOAD_ERRORS,
        },
        response_model=UploadResponse,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {ADAPTER_MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
            },
            "parameters": [examples.CONTENT_DIGEST],
        },
    )
    async def upload(
        task: Task,
        request: Request,
        response: Response,
        state: State,
        caller: Caller,
        activate: Annotated[bool, Query(description="Point `live` at it once it is warm.")] = True,
        allow_incompatible: AllowIncompatible = False,
    ) -> UploadResponse:
        """Check the adapter file in the body, publish it as the next version of `task`, and make it live: the
        answer comes when it serves. The same bytes again give 200 and the same version. A version that would break
        the clients of the live one is published and not made live (409)."""
        try:
            created, answer = await _upload(
                task, request, state, caller, upload_limits, activate=activate, allow_incompatible=allow_incompatible
            )
        except ServiceError as error:
            state.metrics.uploads.labels(getattr(error, "reason", None) or STATUS[type(error)][1]).inc()
            raise
        state.metrics.uploads.labels("created" if created else "unchanged").inc()
        response.status_code = 201 if created else 200
        return answer

    @uploader.get(
        "",
        summary="List everything",
        responses={200: examples.shown({"tasks": [examples.ADMIN_TASK]}), **examples.KEY_ERRORS},
    )
    async def list_tasks(state: State, caller: Caller) -> AdminTaskList:
        """Every task that the key is for, with its versions and aliases."""
        entries = state.follower.snapshot.tasks.values()
        return AdminTaskList(tasks=[admin_task(entry) for entry in entries if permits(caller, entry.name)])

    @uploader.get("/{task}", summary="Show a task", responses={200: examples.shown(examples.ADMIN_TASK), **_ERRORS})
    async def get_task(task: Task, state: State) -> AdminTask:
        """One task with its versions and aliases."""
        return admin_task(entry_of(state, task))

    @uploader.get(
        "/{task}/versions/{version}",
        summary="Show a version",
        responses={200: examples.shown(examples.VERSION), **_ERRORS},
    )
    async def get_version(task: Task, version: Version, state: State) -> VersionInfo:
        """One version."""
        entry = entry_of(state, task)
        found = entry.version(version)
        return version_info(found, entry.changes(found))

    @uploader.get(
        "/{task}/versions/{version}/adapter",
        summary="Download an adapter",
        response_class=Response,
        responses={200: {"description": "The adapter file", "content": {ADAPTER_MEDIA_TYPE: {}}}, **_ERRORS},
    )
    async def download(task: Task, version: Version, state: State) -> Response:
        """Exactly the bytes that were uploaded; the ETag is their SHA-256."""
        found = entry_of(state, task).version(version)
        async with answer_deadline():
            data = await asyncio.to_thread(state.registry.read_adapter, found.digest)
        headers = {
            "ETag": f'"{found.digest}"',
            "Content-Disposition": f'attachment; filename="{found.task}-{found.version}.safetensors"',
        }
        return Response(data, media_type=ADAPTER_MEDIA_TYPE, headers=headers)

    @administrator.delete(
        "/{task}/versions/{version}",
        status_code=204,
        summary="Delete a version",
        responses={
            409: examples.failing("An alias points to it", "alias 'live' points to version 3", "alias_conflict"),
            **examples.WRITE_ERRORS,
        },
    )
    async def delete_version(task: Task, version: Version, request: Request, state: State, caller: Caller) -> None:
        """Remove a version that no alias points to. Its number is never used again."""
        async with answer_deadline():
            await asyncio.to_thread(
                state.registry.delete_version,
                task,
                version,
                actor=actor_of(caller),
                source=client_address(request),
            )
            await state.follower.refresh()

    return [uploader, administrator]


async def _upload(
    task: str, request: Request, state: ServerState, caller: ApiKey, limits: BodyLimits, **options: bool
) -> tuple[bool, UploadResponse]:
    check_head(task, request)
    with state.uploads.permit():
        data = await read_file(request, limits)
        version, created, changes = await state.uploads.upload(
            task, data, **options, actor=actor_of(caller), source=client_address(request)
        )
    live = entry_of(state, task).aliases.get(LIVE) == version.version
    return created, UploadResponse(**dict(version_info(version, changes)), live=live)
