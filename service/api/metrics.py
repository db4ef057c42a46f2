"""GET /metrics."""

from fastapi import APIRouter, Response

from service.api.deps import State

router = APIRouter(tags=["operations"])


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(state: State) -> Response:
    """Every series of docs/operations.md, in Prometheus' text format."""
    return Response(state.metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")
