"""GET /metrics."""

from fastapi import APIRouter, Request, Response

from service.api.deps import State
from service.api.http.accept import quality

router = APIRouter(tags=["operations"])

_OPENMETRICS, _TEXT = "application/openmetrics-text", "text/plain"
_MEDIA_TYPES = {True: f"{_OPENMETRICS}; version=1.0.0; charset=utf-8", False: f"{_TEXT}; version=0.0.4; charset=utf-8"}


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(request: Request, state: State) -> Response:
    """Every series of docs/monitoring.md, in Prometheus' text format, or in that of OpenMetrics, with exemplars, where
    `Accept` prefers it; compressed where `Accept-Encoding` has gzip. All scrapes of a second get the same."""
    accept = request.headers.get("accept", "")
    openmetrics = 0 < quality(accept, _OPENMETRICS) >= quality(accept, _TEXT)
    compressed = quality(request.headers.get("accept-encoding", ""), "gzip") > 0
    content = await state.metrics.scrape(openmetrics, compressed)
    headers = {"Vary": "Accept, Accept-Encoding"} | ({"Content-Encoding": "gzip"} if compressed else {})
    return Response(content, headers=headers, media_type=_MEDIA_TYPES[openmetrics])
