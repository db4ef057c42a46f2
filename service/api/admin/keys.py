"""Keys: create, list, revoke, by an administrator of all tasks only."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from service.api.admin.changes import Writer
from service.api.admin.examples import STORAGE_ERRORS
from service.api.http.auth import protected_router
from service.api.http.body import BodyLimits
from service.api.http.openapi import BODY_ERRORS, KEY_ERRORS, KeyId, TaskName, failing, shown
from service.api.state import State
from service.core import ApiKey, Scope
from service.settings import Settings

_KEY: dict[str, Any] = {
    "id": "3f9a1c22d0b4",
    "name": "ci",
    "scopes": ["upload"],
    "tasks": ["sst2"],
    "created_at": "2026-11-01T12:00:00Z",
    "revoked_at": None,
}
KeyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._@:+-]([A-Za-z0-9._@:+ -]{0,61}[A-Za-z0-9._@:+-])?$")]


class NewKeyRequest(BaseModel):
    """Name and permissions of a new key."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[KeyName, Field(description="For people: the person or program that will use the key.")]
    scopes: Annotated[list[Scope], Field(fail_fast=True, min_length=1, description="`admin` includes the others.")]
    tasks: Annotated[
        list[TaskName], Field(fail_fast=True, max_length=1000, description="Only these tasks; empty: every task.")
    ] = []


class KeyInfo(BaseModel):
    """A key without its secret part, of which the server keeps only a hash."""

    id: Annotated[str, Field(description="Public: part of the key itself, and named in the audit log.")]
    name: str
    scopes: list[Scope]
    tasks: list[str]
    created_at: datetime
    revoked_at: datetime | None


class NewKey(KeyInfo):
    """A new key with its secret part, which is shown only once."""

    key: str


class KeyList(BaseModel):
    """Every key, oldest first."""

    keys: list[KeyInfo]


def key_router(settings: Settings) -> APIRouter:
    """Return the routes, for administrators."""
    router = protected_router("admin", BodyLimits.from_settings(settings), prefix="/admin/v1/keys", tags=["keys"])

    @router.post(
        "",
        status_code=201,
        summary="Create a key",
        responses={
            201: shown(_KEY | {"key": "ak_3f9a1c22d0b4_..."}, "Created; the key is shown only here"),
            **KEY_ERRORS,
            **BODY_ERRORS,
            **STORAGE_ERRORS,
        },
    )
    async def create_key(body: NewKeyRequest, state: State, writer: Writer) -> NewKey:
        """Create a key. Only a hash of it is stored.

        Scopes: `predict`, `upload` (publish, list, move aliases, roll back) or `admin` (everything); `tasks` restricts
        the key to these tasks.
        """
        key, text = await writer.write(state.registry.create_key, body.name, body.scopes, body.tasks)
        return NewKey(**_info(key).model_dump(), key=text)

    @router.get("", summary="List the keys", responses={200: shown({"keys": [_KEY]}), **KEY_ERRORS})
    async def list_keys(state: State) -> KeyList:
        """Every key, revoked ones included, except the first key (ADAKRON_ADMIN_KEY)."""
        keys = sorted(state.follower.snapshot.keys.values(), key=lambda key: (key.created_at, key.id))
        return KeyList(keys=[_info(key) for key in keys])

    @router.delete(
        "/{key_id}",
        summary="Revoke a key",
        responses={
            200: shown(_KEY | {"revoked_at": "2026-11-02T08:00:00Z"}),
            404: failing("No such key", "no key 'abc' (GET /admin/v1/keys lists them)", "unknown_key"),
            **KEY_ERRORS,
            **STORAGE_ERRORS,
        },
    )
    async def revoke_key(key_id: KeyId, state: State, writer: Writer) -> KeyInfo:
        """This server refuses the key from now on; other servers on the registry follow within a second."""
        return _info(await writer.write(state.registry.revoke_key, key_id))

    return router


def _info(key: ApiKey) -> KeyInfo:
    return KeyInfo(
        id=key.id,
        name=key.name,
        scopes=sorted(key.scopes),
        tasks=sorted(key.tasks),
        created_at=key.created_at,
        revoked_at=key.revoked_at,
    )
