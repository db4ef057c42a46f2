"""Health checks and GET /metrics."""

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from service.api.http.headers import quality
from service.api.http.openapi import Responses, shown
from service.api.state import State

health_router = APIRouter(tags=["operations"])
metrics_router = APIRouter(tags=["operations"])

_READY = {"status": "ok", "backbone": "sentence-transformers/all-MiniLM-L6-v2", "device": "cpu"}
_RESPONSES: Responses = {
    200: shown(_READY | {"num_tasks": 5, "registry_revision": 5}),
    503: shown(
        _READY | {"status": "draining", "num_tasks": 5, "registry_revision": 5},
        "Draining, or `engine_hangs` with a `cause`",
    ),
}
_OPENMETRICS, _TEXT = "application/openmetrics-text", "text/plain"
_MEDIA_TYPES = {True: f"{_OPENMETRICS}; version=1.0.0; charset=utf-8", False: f"{_TEXT}; version=0.0.4; charset=utf-8"}


class Health(BaseModel):
    """Answer of a health check."""

    status: Literal["ok", "starting", "draining", "engine_hangs"]


class Ready(Health):
    """Answer of the readiness check, with what this server serves."""

    backbone: str
    device: str
    num_tasks: int
    registry_revision: int
    cause: str | None = None  # why it is not ready, if it does not drain


@health_router.get("/health/live", summary="Is the process alive", responses={200: shown({"status": "ok"})})
async def live() -> Health:
    """200 as long as the process can answer at all."""
    return Health(status="ok")


@health_router.get("/health", summary="As GET /health/ready", responses=_RESPONSES, response_model_exclude_none=True)
@health_router.get(
    "/health/ready", summary="Should it get requests", responses=_RESPONSES, response_model_exclude_none=True
)
async def ready(state: State, response: Response) -> Ready:
    """200 while the server takes requests, 503 once it drains or its engine process gives no sign of life for 5 s.

    A draining server still answers, but new requests should go to another server.
    """
    snapshot = state.follower.snapshot
    draining = state.draining.is_set()
    hang = state.find_hang()
    response.status_code = 503 if draining or hang else 200
    return Ready(
        status="draining" if draining else "engine_hangs" if hang else "ok",
        backbone=state.backbone.name,
        device=state.dispatcher.engine.device,
        num_tasks=len(snapshot.live()),
        registry_revision=snapshot.revision,
        cause=None if draining or hang is None else str(hang).partition(";")[0],
    )


@metrics_router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(request: Request, state: State) -> Response:
    """All metrics in Prometheus' text format, or in OpenMetrics with exemplars if `Accept` prefers it.

    They cover all processes of this server. Compressed if `Accept-Encoding` has gzip. Scrapes within a second that the
    same process answers get the same text.
    """
    accept = request.headers.get("accept", "")
    openmetrics = 0 < quality(accept, _OPENMETRICS) >= quality(accept, _TEXT)
    compressed = quality(request.headers.get("accept-encoding", ""), "gzip") > 0
    content = await state.metrics.scrape(openmetrics, compressed)
    headers = {"Vary": "Accept, Accept-Encoding"} | ({"Content-Encoding": "gzip"} if compressed else {})
    return Response(content, headers=headers, media_type=_MEDIA_TYPES[openmetrics])
