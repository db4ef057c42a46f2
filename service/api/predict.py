"""POST /v1/{task}/predict: the life of a prediction (docs/architecture.md), and its metrics."""

import asyncio
import time
from dataclasses import dataclass

from fastapi import APIRouter, Body, Request, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError

from adapters.encoding import TextInput
from adapters.heads import decode
from service.api.answers import answer_bytes
from service.api.body import BodyLimits, read_body, with_body
from service.api.deps import ServerState
from service.api.errors import status_of
from service.api.examples import KEY_ERRORS, PREDICT_ERRORS, PREDICT_REQUESTS, PREDICT_RESPONSE
from service.api.guard import Handler, caller_of, documented, predict_scope
from service.api.inputs import texts_of
from service.api.paths import Reference
from service.api.patience import Patience
from service.api.schemas import PredictRequest, PredictResponse
from service.api.time_limit import time_limit_parameter, time_limit_s
from service.core import Permit, PublishedVersion
from service.core import Request as QueuedRequest
from service.errors import Overloaded
from service.settings import Settings


@dataclass(frozen=True)
class Admitted:
    """What stands before the body is read."""

    version: PublishedVersion
    permit: Permit


def predict_router(settings: Settings) -> APIRouter:
    """The route, with the limits on its body; with ADAKRON_REQUIRE_KEY it needs a key."""

    class PredictRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            return _measured(_admitted(super().get_route_handler(), settings))

    router = APIRouter(route_class=PredictRoute, tags=["predict"], dependencies=documented(settings))
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


def _measured(handle: Handler) -> Handler:
    """`handle`, every answer of which is counted and timed, errors before the handler included."""

    async def measured(request: Request) -> Response:
        started, code = time.perf_counter(), 500
        state: ServerState = request.state.server
        try:
            response = await handle(request)
            code = response.status_code
            return response
        except Exception as error:
            code = status_of(error)
            if isinstance(error, Overloaded):
                state.metrics.refused.labels(error.bound).inc()
            raise
        finally:
            name = request.path_params["task"].partition("@")[0]
            known = name if name in state.follower.snapshot.tasks else None
            state.metrics.observe_request(known, code, time.perf_counter() - started)

    return measured


def _admitted(handle: Handler, settings: Settings) -> Handler:
    """`handle` with the body at hand, for requests that have a key, a task and a permit, as long as their clients
    wait for them. What is right in every respect takes the short way, past FastAPI's parsing; `handle` says what is
    wrong with the rest."""
    scope, limits = predict_scope(settings), BodyLimits(settings.max_body_bytes, settings.body_timeout_s)

    async def admitted(request: Request) -> Response:
        arrived = time.monotonic()
        state: ServerState = request.state.server
        request.state.caller = None if scope is None else caller_of(request, scope)
        limit_s = time_limit_s(request.scope["headers"], settings)
        version = state.follower.snapshot.resolve(request.path_params["task"])
        permit = state.admission.admit(version.task, arrived + limit_s)
        try:
            async with Patience(limit_s) as patience:
                body = await read_body(request, limits)
                patience.watch(request.receive)
                request.state.admitted = Admitted(version, permit)
                if (parsed := parse(request, body)) is None:
                    return await handle(with_body(request, body))
                return await predict(request.path_params["task"], request, parsed)
        finally:
            state.admission.release(permit)

    return admitted


def parse(request: Request, body: bytes) -> PredictRequest | None:
    """The request in `body`, checked; None where anything at all is unusual."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        return None
    try:
        return PredictRequest.model_validate_json(body)
    except ValidationError:
        return None


async def predict(
    task: Reference, request: Request, body: PredictRequest = Body(openapi_examples=PREDICT_REQUESTS)
) -> Response:
    """Classify one text or many. `task` is a name from `GET /v1/tasks`; `sst2@7` pins a version, `sst2@canary` an
    alias. The answer names the version and the digest that gave it."""
    state: ServerState = request.state.server
    admitted: Admitted = request.state.admitted
    version, permit = admitted.version, admitted.permit
    inputs = texts_of(body, version.task, version.spec, state.settings.max_inputs)
    state.admission.reserve(permit, sum(most_tokens(item, version.spec.max_length) for item in inputs))
    with state.slots.hold(version) as hold:  # which loads the adapter meanwhile, if need be
        started = time.perf_counter()
        encodings = await state.tokenizer.encode(inputs, version.spec, body.truncation)
        tokenize_s = time.perf_counter() - started
        state.metrics.tokenize.observe(tokenize_s)
        state.admission.tokenised(permit, sum(map(len, encodings)))
        done = asyncio.get_running_loop().create_future()
        queued = QueuedRequest(version.task, await hold.slot(), encodings, done, permit)
        queued.timings.tokenize_s = tokenize_s
        logits = await state.scheduler.submit(queued)
    outputs = decode(logits, version.spec, raw_scores=body.raw_scores)
    content = answer_bytes(version, outputs, encodings, queued.timings, body.top_k)
    return Response(content, media_type="application/json")


def most_tokens(item: TextInput, max_length: int) -> int:
    """What an input may have: a token a character (decomposed, one may become three) and [CLS] and [SEP]s."""
    texts = (item,) if isinstance(item, str) else item
    num_characters = sum(len(text) if text.isascii() else 3 * len(text) for text in texts)
    return min(max_length, num_characters + 1 + len(texts))
