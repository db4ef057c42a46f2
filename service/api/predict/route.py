"""POST /v1/{task}/predict, as /docs describes it. `Predictions` (predictions.py) answers it."""

from fastapi import APIRouter, Body, Response
from starlette.exceptions import HTTPException

from service.api.examples import KEY_ERRORS, PREDICT_ERRORS, PREDICT_REQUESTS, PREDICT_RESPONSE
from service.api.http.auth import documented, guarded_route, predict_scope
from service.api.http.body import BodyLimits
from service.api.http.paths import Reference
from service.api.http.time_limit import time_limit_parameter
from service.api.schemas import PredictRequest, PredictResponse
from service.settings import Settings


def predict_router(settings: Settings) -> APIRouter:
    """The route; with ADAKRON_REQUIRE_KEY it needs a key."""
    route = guarded_route(predict_scope(settings), BodyLimits.of(settings))
    router = APIRouter(route_class=route, tags=["predict"], dependencies=documented(settings))
    router.add_api_route(
        "/v1/{task}/predict",
        predict,
        methods=["POST"],
        response_model=PredictResponse,
        responses={200: PREDICT_RESPONSE, **PREDICT_ERRORS, **(KEY_ERRORS if settings.require_key else {})},
        summary="Classify texts",
        openapi_extra={"parameters": [time_limit_parameter(settings)]},
    )
    return router


async def predict(task: Reference, body: PredictRequest = Body(openapi_examples=PREDICT_REQUESTS)) -> Response:
    """Classify one text or many. `task` is a name from `GET /v1/tasks`; `sst2@7` pins a version, `sst2@canary` an
    alias. The answer names the version and the digest that gave it."""
    raise HTTPException(404)  # only a path that is none comes past `Predictions`: one with a line break at its end
