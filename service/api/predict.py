"""POST /v1/{task}/predict: the life of a prediction (docs/architecture.md), and its metrics."""

import asyncio
import time

from fastapi import APIRouter, Body, Request, Response

from adapters.encoding import Encoding
from adapters.heads import MultiLabelOutput, Output, RegressionOutput, SingleLabelOutput, decode
from service.api.body import BodyLimits
from service.api.deps import ServerState, State
from service.api.errors import status_of
from service.api.examples import KEY_ERRORS, PREDICT_ERRORS, PREDICT_REQUESTS, PREDICT_RESPONSE
from service.api.guard import Handler, documented, guarded_route, predict_scope
from service.api.inputs import texts_of
from service.api.paths import Reference
from service.api.schemas import (
    LabelPrediction,
    LabelsPrediction,
    PredictRequest,
    PredictResponse,
    TimingsMs,
    ValuePrediction,
)
from service.core import Request as QueuedRequest
from service.settings import Settings


def _measured(handle: Handler) -> Handler:
    """`handle`, every answer of which is counted and timed, errors before the handler included."""

    async def measured(request: Request) -> Response:
        started, code = time.perf_counter(), 500
        try:
            response = await handle(request)
            code = response.status_code
            return response
        except Exception as error:
            code = status_of(error)
            raise
        finally:
            state: ServerState = request.state.server
            name = request.path_params["task"].partition("@")[0]
            known = name if name in state.follower.snapshot.tasks else None
            state.metrics.observe_request(known, code, time.perf_counter() - started)

    return measured


def predict_router(settings: Settings) -> APIRouter:
    """The route, with the limits on its body; with ADAKRON_REQUIRE_KEY it needs a key."""
    limits = BodyLimits(settings.max_body_bytes, settings.body_timeout_s)

    class MeasuredRoute(guarded_route(predict_scope(settings), limits)):  # type: ignore[misc]  # made by a function
        def get_route_handler(self) -> Handler:
            return _measured(super().get_route_handler())

    router = APIRouter(route_class=MeasuredRoute, tags=["predict"], dependencies=documented(settings))
    router.add_api_route(
        "/v1/{task}/predict",
        predict,
        methods=["POST"],
        response_model=PredictResponse,
        responses={200: PREDICT_RESPONSE, **PREDICT_ERRORS, **(KEY_ERRORS if settings.require_key else {})},
        summary="Classify texts",
    )
    return router


async def predict(
    task: Reference, state: State, body: PredictRequest = Body(openapi_examples=PREDICT_REQUESTS)
) -> PredictResponse:
    """Classify one text or many. `task` is a name from `GET /v1/tasks`; `sst2@7` pins a version, `sst2@canary` an
    alias. The answer names the version and the digest that gave it."""
    version = state.follower.snapshot.resolve(task)
    inputs = texts_of(body, version.task, version.spec, state.settings.max_inputs)
    with state.scheduler.admit(len(inputs)):
        started = time.perf_counter()
        encodings = await state.tokenizer.encode(inputs, version.spec, body.truncation)
        tokenize_s = time.perf_counter() - started
        state.metrics.tokenize.observe(tokenize_s)
        async with state.slots.pinned(version) as slot:
            done = asyncio.get_running_loop().create_future()
            request = QueuedRequest(version.task, slot, encodings, done)
            logits = await state.scheduler.submit(request)
    outputs = decode(logits, version.spec, raw_scores=body.raw_scores)
    return PredictResponse(
        task=version.task,
        version=version.version,
        digest=version.digest,
        predictions=[
            _prediction(output, encoding, body.top_k) for output, encoding in zip(outputs, encodings, strict=True)
        ],
        timings_ms=TimingsMs(
            tokenize=_ms(tokenize_s), queue=_ms(request.timings.queue_s), inference=_ms(request.timings.inference_s)
        ),
    )


def _prediction(
    output: Output, encoding: Encoding, top_k: int | None
) -> LabelPrediction | LabelsPrediction | ValuePrediction:
    truncated, tokens = encoding.truncated, len(encoding)
    if isinstance(output, RegressionOutput):
        return ValuePrediction(value=output.value, truncated=truncated, tokens=tokens)
    scores = _best(output, top_k)
    if isinstance(output, SingleLabelOutput):
        return LabelPrediction(
            label=output.label, score=output.score, scores=scores, truncated=truncated, tokens=tokens
        )
    return LabelsPrediction(labels=list(output.labels), scores=scores, truncated=truncated, tokens=tokens)


def _best(output: SingleLabelOutput | MultiLabelOutput, top_k: int | None) -> dict[str, float]:
    if top_k is None:
        return output.scores
    ranked = sorted(output.scores.items(), key=lambda item: item[1], reverse=True)
    return dict(ranked[:top_k])


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
