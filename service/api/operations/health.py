"""Health checks."""

from typing import Any

from fastapi import APIRouter, Response

from service.api.deps import State
from service.api.examples import shown
from service.api.schemas import Health, Ready

router = APIRouter(tags=["operations"])

_READY = {"status": "ok", "backbone": "sentence-transformers/all-MiniLM-L6-v2", "device": "cpu"}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: shown(_READY | {"num_tasks": 5, "registry_revision": 5}),
    503: shown(_READY | {"status": "draining", "num_tasks": 5, "registry_revision": 5}, "Draining"),
}


@router.get("/health/live", summary="Is the process alive", responses={200: shown({"status": "ok"})})
async def live() -> Health:
    """200 as long as the process can answer at all."""
    return Health(status="ok")


@router.get("/health", summary="As GET /health/ready", responses=_RESPONSES)
@router.get("/health/ready", summary="Should it get requests", responses=_RESPONSES)
async def ready(state: State, response: Response) -> Ready:
    """200 when requests are welcome; 503 from the moment that the server begins to drain: it still answers, but
    new requests should go elsewhere."""
    snapshot = state.follower.snapshot
    draining = state.draining.is_set()
    response.status_code = 503 if draining else 200
    return Ready(
        status="draining" if draining else "ok",
        backbone=state.backbone.name,
        device=state.engine.name,
        num_tasks=len(snapshot.live()),
        registry_revision=snapshot.revision,
    )
