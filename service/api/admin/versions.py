"""Versions of a task: upload, show, download, delete, example inputs."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from service.api.admin.changes import Writer, find_entry
from service.api.admin.examples import ADMIN_ERRORS, CONTENT_DIGEST, UPLOAD_ERRORS, VERSION, WRITE_ERRORS
from service.api.admin.schemas import GoldenInput, UploadResponse, VersionExamples, VersionInfo, version_info
from service.api.admin.uploaded import ADAPTER_MEDIA_TYPE, check_upload_headers, read_file
from service.api.http.auth import Caller, client_address, protected_router
from service.api.http.body import BodyLimits
from service.api.http.errors import STATUS
from service.api.http.openapi import AllowIncompatible, Task, Version, failing, shown
from service.api.state import ServerState, State
from service.auth.permissions import actor_of
from service.core import LIVE, ApiKey
from service.errors import ServiceError
from service.registry.deadline import answer_deadline
from service.settings import Settings

_EXAMPLES = {"examples": [{"inputs": "a warm, funny and moving film"}]}
_ALIASED = failing("An alias points to it", "alias 'live' points to version 3", "alias_conflict")


def version_routers(settings: Settings) -> list[APIRouter]:
    """Return the routes for the scope upload, and those for administrators."""
    upload_limits = BodyLimits(settings.max_upload_bytes, settings.body_timeout_s)
    body_limits = BodyLimits.from_settings(settings)
    uploader = protected_router("upload", None, prefix="/admin/v1/tasks", tags=["versions"])
    administrator = protected_router("admin", body_limits, prefix="/admin/v1/tasks", tags=["versions"])

    @uploader.post(
        "/{task}/versions",
        status_code=201,
        summary="Upload an adapter",
        responses={
            200: shown(VERSION | {"live": True}, "A version with these bytes exists already"),
            201: shown(VERSION | {"live": True}, "Published"),
            **UPLOAD_ERRORS,
        },
        response_model=UploadResponse,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {ADAPTER_MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
            },
            "parameters": [CONTENT_DIGEST],
        },
    )
    async def upload(
        task: Task,
        request: Request,
        response: Response,
        state: State,
        caller: Caller,
        activate: Annotated[bool, Query(description="Point `live` at it once it is loaded.")] = True,
        allow_incompatible: AllowIncompatible = False,
    ) -> UploadResponse:
        """Check the adapter file in the body, publish it as the next version of `task`, and make it live.

        After the answer, requests get the new version. The same bytes again give 200 and the same version. A version
        that would break clients of the live one is published, but not made live (409).
        """
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
        "/{task}/versions/{version}",
        summary="Show a version",
        responses={200: shown(VERSION), **ADMIN_ERRORS},
    )
    async def get_version(task: Task, version: Version, state: State) -> VersionInfo:
        """One version."""
        entry = find_entry(state, task)
        found = entry.version(version)
        return version_info(found, entry.changes(found))

    @uploader.get(
        "/{task}/versions/{version}/adapter",
        summary="Download an adapter",
        response_class=Response,
        responses={200: {"description": "The adapter file", "content": {ADAPTER_MEDIA_TYPE: {}}}, **ADMIN_ERRORS},
    )
    async def download(task: Task, version: Version, state: State) -> Response:
        """Exactly the bytes that were uploaded; the ETag is their SHA-256."""
        found = find_entry(state, task).version(version)
        async with answer_deadline():
            data = await asyncio.to_thread(state.registry.read_adapter, found.digest)
        headers = {
            "ETag": f'"{found.digest}"',
            "Content-Disposition": f'attachment; filename="{found.task}-{found.version}.safetensors"',
        }
        return Response(data, media_type=ADAPTER_MEDIA_TYPE, headers=headers)

    @uploader.get(
        "/{task}/versions/{version}/examples",
        summary="Show example inputs",
        responses={200: shown(_EXAMPLES), **ADMIN_ERRORS},
    )
    async def get_examples(task: Task, version: Version, state: State) -> VersionExamples:
        """The inputs of the golden examples in the adapter file: texts of its validation data."""
        find_entry(state, task).version(version)
        async with answer_deadline():
            metadata = await asyncio.to_thread(state.registry.metadata, task, version)
        return VersionExamples(examples=[GoldenInput(inputs=example.inputs) for example in metadata.examples])

    @administrator.delete(
        "/{task}/versions/{version}",
        status_code=204,
        summary="Delete a version",
        responses={409: _ALIASED, **WRITE_ERRORS},
    )
    async def delete_version(task: Task, version: Version, state: State, writer: Writer) -> None:
        """Remove a version that no alias points to. Its number is never used again."""
        await writer.write(state.registry.delete_version, task, version)

    return [uploader, administrator]


async def _upload(
    task: str, request: Request, state: ServerState, caller: ApiKey, limits: BodyLimits, **options: bool
) -> tuple[bool, UploadResponse]:
    check_upload_headers(task, request)
    async with state.uploads.permit():
        data = await read_file(request, limits)
        version, created, changes = await state.uploads.upload(
            task, data, **options, actor=actor_of(caller), source=client_address(request)
        )
    live = find_entry(state, task).aliases.get(LIVE) == version.version
    return created, UploadResponse(**dict(version_info(version, changes)), live=live)
