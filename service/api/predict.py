"""POST /v1/{task}/predict, as /docs describes it. It is answered in predictions.py."""

from fastapi import APIRouter, Body, Request, Response

from service.api.examples import KEY_ERRORS, PREDICT_ERRORS, PREDICT_REQUESTS, PREDICT_RESPONSE
from service.api.guard import documented
from service.api.paths import Reference
from service.api.schemas import PredictRequest, PredictResponse
from service.api.time_limit import time_limit_parameter
from service.settings import Settings


def predict_router(settings: Settings) -> APIRouter:
    """The route; with ADAKRON_REQUIRE_KEY it needs a key."""
    router = APIRouter(tags=["predict"], dependencies=documented(settings))
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


async def predict(
    task: Reference, request: Request, body: PredictRequest = Body(openapi_examples=PREDICT_REQUESTS)
) -> Response:
    """Classify one text or many. `task` is a name from `GET /v1/tasks`; `sst2@7` pins a version, `sst2@canary` an
    alias. The answer names the version and the digest that gave it."""
    request.state.parsed = body  # for `Predictions`, which has asked
    return Response()
