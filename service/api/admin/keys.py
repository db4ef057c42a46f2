"""Keys: make, list, revoke. Only an administrator of all tasks may."""

import asyncio

from fastapi import APIRouter, Request

from service.api import examples
from service.api.admin.views import key_info
from service.api.deps import State
from service.api.http.auth import Caller, client_address, guarded_router
from service.api.http.body import BodyLimits
from service.api.http.paths import KeyId
from service.api.schemas import KeyInfo, KeyList, NewKey, NewKeyRequest
from service.auth.permissions import actor_of
from service.registry.deadline import answer_deadline
from service.settings import Settings


def key_router(settings: Settings) -> APIRouter:
    """The routes of keys."""
    limits = BodyLimits.of(settings)
    router = guarded_router("admin", limits, prefix="/admin/v1/keys", tags=["keys"])

    @router.post(
        "",
        status_code=201,
        summary="Make a key",
        responses={
            201: examples.shown(examples.KEY | {"key": "ak_3f9a1c22d0b4_..."}, "Made; the key is shown only here"),
            **examples.KEY_ERRORS,
            **examples.BODY_ERRORS,
            **examples.STORAGE_ERRORS,
        },
    )
    async def create_key(body: NewKeyRequest, request: Request, state: State, caller: Caller) -> NewKey:
        """A key with the given scopes: `predict`, `upload` (publish, list, move aliases, roll back) or `admin`
        (everything); `tasks` restricts it to those. Only a hash of it is kept."""
        async with answer_deadline():
            key, text = await asyncio.to_thread(
                state.registry.create_key,
                body.name,
                body.scopes,
                body.tasks,
                actor=actor_of(caller),
                source=client_address(request),
            )
            await state.follower.refresh()
        return NewKey(**key_info(key).model_dump(), key=text)

    @router.get(
        "",
        summary="List the keys",
        responses={200: examples.shown({"keys": [examples.KEY]}), **examples.KEY_ERRORS},
    )
    async def list_keys(state: State, caller: Caller) -> KeyList:
        """Every key that was ever made, revoked ones included; the first key (ADAKRON_ADMIN_KEY) is not among them."""
        keys = sorted(state.follower.snapshot.keys.values(), key=lambda key: (key.created_at, key.id))
        return KeyList(keys=[key_info(key) for key in keys])

    @router.delete(
        "/{key_id}",
        summary="Revoke a key",
        responses={
            200: examples.shown(examples.KEY | {"revoked_at": "2026-11-02T08:00:00Z"}),
            404: examples.failing("No such key", "no key 'abc'", "unknown_key"),
            **examples.KEY_ERRORS,
            **examples.STORAGE_ERRORS,
        },
    )
    async def revoke_key(key_id: KeyId, request: Request, state: State, caller: Caller) -> KeyInfo:
        """From now on it is good for nothing here; other servers on the registry follow within a second."""
        async with answer_deadline():
            key = await asyncio.to_thread(
                state.registry.revoke_key, key_id, actor=actor_of(caller), source=client_address(request)
            )
            await state.follower.refresh()
        return key_info(key)

    return router
