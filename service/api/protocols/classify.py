"""POST /classify: as vLLM has it."""

import time
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel, Field, StrictBool
from pydantic_core import to_json

from adapters.backbone.text_encoder import TextInput, Truncation
from service.api.examples import KEY_ERRORS, PREDICT_ERRORS
from service.api.http.auth import documented
from service.api.http.errors import Failure
from service.api.http.time_limit import time_limit_parameter
from service.api.predict.inputs import check_fit, check_number
from service.api.predict.responses import build, check_size
from service.api.predict.visit import ThisVisit, count, visited_route
from service.api.protocols.examples import CLASSIFY_REQUESTS, CLASSIFY_RESPONSE, reshaped
from service.api.schemas import MAX_REFERENCE
from service.inference.predictor import Predictions
from service.settings import Settings

_ERROR_TYPES = {
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    429: "RateLimitError",
}


class ClassifyRequest(BaseModel):
    """What to classify; other fields of vLLM's are ignored."""

    model: Annotated[str, Field(max_length=MAX_REFERENCE, description="A task: `sst2`, `sst2@7`, `sst2@canary`.")]
    input: str | Annotated[list[str], Field(fail_fast=True)]
    truncate_prompt_tokens: Annotated[
        Literal[-1] | None, Field(description="-1: cut over-long texts at their end; otherwise they are 422.")
    ] = None
    use_activation: Annotated[StrictBool | None, Field(description="false: logits in place of probabilities.")] = None


class ClassifyData(BaseModel):
    """Of one input."""

    index: int
    label: str | None
    probs: Annotated[list[float], Field(description="Of every label, in the task's order.")]
    num_classes: int


class ClassifyUsage(BaseModel):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int


class ClassifyResponse(BaseModel):
    """One entry per input, in order."""

    id: str
    object: Literal["list"]
    created: Annotated[int, Field(description="Unix time.")]
    model: str
    data: list[ClassifyData]
    usage: ClassifyUsage


class ErrorDetail(BaseModel):
    """What is wrong."""

    message: str
    type: str
    param: str | None
    code: Annotated[int, Field(description="The HTTP status.")]


class ClassifyError(BaseModel):
    """As OpenAI's API has it."""

    error: ErrorDetail


def classify_router(settings: Settings) -> APIRouter:
    """The route; with ADAKRON_REQUIRE_KEY it needs a key."""
    route = visited_route(settings, _shape, None)
    errors = PREDICT_ERRORS | (KEY_ERRORS if settings.require_key else {})
    router = APIRouter(route_class=route, tags=["vLLM"], dependencies=documented(settings))

    @router.post(
        "/classify",
        response_model=ClassifyResponse,
        responses={200: CLASSIFY_RESPONSE, **reshaped(errors, ClassifyError, _shape)},
        summary="Classify as vLLM does",
        openapi_extra={"parameters": [time_limit_parameter(settings)]},
    )
    async def classify(
        request: Request, visit: ThisVisit, body: ClassifyRequest = Body(openapi_examples=CLASSIFY_REQUESTS)
    ) -> Response:
        """The best label and the probabilities of all of them. A regression has no label, and its value as the only
        entry of `probs`. Texts only: tasks that take pairs have other routes."""
        count(request, body.model)
        version = visit.resolve(body.model)
        permit = visit.admit(version)
        inputs: list[TextInput] = [body.input] if isinstance(body.input, str) else list(body.input)
        check_number(inputs, settings.max_inputs, "input")
        check_fit(inputs, version.task, version.spec, "this route has none, POST /v1/{task}/predict has")
        check_size(len(inputs), version.spec)
        visit.state.predictor.reserve(permit, inputs, version)
        truncation: Truncation | None = "error" if body.truncate_prompt_tokens is None else None
        encoded = partial(visit.state.predictor.encode, inputs, version, truncation, '"truncate_prompt_tokens": -1')
        computed = await visit.state.predictor.predict(version, permit, encoded)
        answer = {
            "id": f"classify-{uuid.uuid4().hex}",
            "object": "list",
            "created": int(time.time()),
            "model": body.model,
            "data": _data(computed, raw_scores=body.use_activation is False),
            "usage": {
                "prompt_tokens": computed.num_tokens,
                "total_tokens": computed.num_tokens,
                "completion_tokens": 0,
            },
        }
        content = await build(lambda: to_json(answer, inf_nan_mode="null"), computed.logits.size)
        return Response(content, media_type="application/json")

    return router


def _data(computed: Predictions, *, raw_scores: bool) -> Iterator[dict[str, Any]]:
    labels = computed.version.spec.labels
    values = computed.scores(raw_scores=raw_scores)
    best = computed.logits.argmax(axis=1).tolist()
    for index, row in enumerate(values):
        label = labels[best[index]] if labels else None
        yield {"index": index, "label": label, "probs": row.tolist(), "num_classes": len(row)}


def _shape(failure: Failure) -> dict[str, Any]:
    """`ClassifyError`."""
    kind = "BadRequestError" if failure.status < 500 else "InternalServerError"
    error_type = _ERROR_TYPES.get(failure.status, kind)
    return {"error": {"message": failure.message, "type": error_type, "param": None, "code": failure.status}}
