"""POST /v1/predict: the same texts by several tasks.

One permit for each task, so that each holds its own share; all of them before any work, or none and 429. Then the texts
are tokenised once for all tasks that do it alike, and all requests are queued at once: one batch, as far as the token
budget goes.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Body, Request, Response
from pydantic_core import to_json

from adapters.backbone.text_encoder import TextInput, Truncation
from adapters.config import SpecialTokens
from service.api.deps import ServerState
from service.api.examples import KEY_ERRORS
from service.api.http.auth import documented
from service.api.http.errors import INPUTS_HELP, Failure, failure_of
from service.api.http.time_limit import time_limit_parameter
from service.api.predict.inputs import check_fit, check_number, check_options, plain
from service.api.predict.many_schemas import PredictManyRequest, PredictManyResponse
from service.api.predict.responses import answer_of, build, check_size, milliseconds
from service.api.predict.visit import ThisVisit, Visit, count, visited_route
from service.api.protocols.examples import MANY_ERRORS, MANY_REQUESTS, MANY_RESPONSE
from service.core import Permit, PublishedVersion
from service.errors import DeadlineExceeded, InvalidInput, Overloaded, ServiceError, ShuttingDown
from service.inference.predictor import Encoded
from service.observability.request_context import current_context
from service.settings import Settings

_Rules = tuple[int, SpecialTokens, Truncation]  # max_length; what decides how texts are tokenized
_WHOLE = (Overloaded, ShuttingDown, DeadlineExceeded)  # no permit: then for no task


def predict_many_router(settings: Settings) -> APIRouter:
    """The route; with ADAKRON_REQUIRE_KEY it needs a key."""
    route = visited_route(settings, Failure.body, None, INPUTS_HELP)
    router = APIRouter(route_class=route, tags=["predict"], dependencies=documented(settings))

    @router.post(
        "/v1/predict",
        response_model=PredictManyResponse,
        responses={200: MANY_RESPONSE, **MANY_ERRORS, **(KEY_ERRORS if settings.require_key else {})},
        summary="Classify texts by several tasks",
        openapi_extra={"parameters": [time_limit_parameter(settings)]},
    )
    async def predict_many(
        request: Request, visit: ThisVisit, body: PredictManyRequest = Body(openapi_examples=MANY_REQUESTS)
    ) -> Response:
        """Classify one text or many by up to 64 tasks at once. Each task has its answer, or its own error: one that
        fails does not keep the others from theirs."""
        started = time.perf_counter()
        for reference in body.tasks:
            count(request, reference)
        results, tokenize_s = await _results(visit, body)
        for reference, result in results.items():
            count(request, reference, result.get("status", 200))
        runs = current_context().task_runs
        for run, result in zip(runs, results.values(), strict=True):
            run.status, run.error_type = result.get("status", 200), result.get("error_type")
        timings = {"tokenize": milliseconds(tokenize_s), "total": milliseconds(time.perf_counter() - started)}
        answer = {"results": results, "timings_ms": timings}
        num_scores = sum(run.num_inputs * run.version.spec.num_outputs for run in runs if run.version)
        content = await build(lambda: to_json(answer, inf_nan_mode="null"), num_scores)
        return Response(content, media_type="application/json")

    return router


@dataclass(frozen=True)
class _Run:
    """One task that can be asked."""

    reference: str
    version: PublishedVersion
    permit: Permit
    num_bytes: int  # that its part of the answer may take


async def _results(visit: Visit, body: PredictManyRequest) -> tuple[dict[str, dict[str, Any]], float]:
    """By reference, in the order of the request, what each task says; and the seconds that tokenising took."""
    inputs = plain(body)
    check_number(inputs, visit.state.settings.max_inputs)
    results: dict[str, dict[str, Any]] = {reference: {} for reference in body.tasks}
    runs: list[_Run] = []
    for reference in body.tasks:
        try:
            size = sum(run.num_bytes for run in runs)
            runs.append(_admitted(visit, body, reference, inputs, size))
        except _WHOLE:
            raise
        except ServiceError as error:
            results[reference] = _error(error)
    encoded: asyncio.Future[Mapping[_Rules, Encoded | InvalidInput]] = asyncio.get_running_loop().create_future()

    async def ask(run: _Run) -> None:
        async def mine() -> Encoded:
            made = (await encoded)[_rules(run.version, body)]
            if isinstance(made, InvalidInput):
                raise made
            return made

        try:
            computed = await visit.state.predictor.predict(run.version, run.permit, mine)
            results[run.reference] = answer_of(computed, body)
        except ServiceError as error:
            results[run.reference] = _error(error)

    async with asyncio.TaskGroup() as group:
        for run in runs:
            group.create_task(ask(run))
        made = await _encoded(inputs, runs, body, visit.state)
        encoded.set_result(made)
    return results, sum(item[1] for item in made.values() if not isinstance(item, InvalidInput))


def _admitted(visit: Visit, body: PredictManyRequest, reference: str, inputs: Sequence[TextInput], size: int) -> _Run:
    version = visit.resolve(reference)
    check_options(body, version.task, version.spec)
    check_fit(inputs, version.task, version.spec)
    num_bytes = check_size(len(inputs), version.spec, body.top_k, beside=size)
    beside = visit.num_tokens
    permit = visit.admit(version)
    visit.state.predictor.reserve(permit, inputs, version, beside=beside)
    return _Run(reference, version, permit, num_bytes)


def _rules(version: PublishedVersion, body: PredictManyRequest) -> _Rules:
    spec = version.spec
    return spec.max_length, spec.special_tokens, body.truncation or spec.truncation


async def _encoded(
    inputs: Sequence[TextInput], runs: Sequence[_Run], body: PredictManyRequest, state: ServerState
) -> dict[_Rules, Encoded | InvalidInput]:
    """Each way of tokenizing once."""

    async def one(version: PublishedVersion) -> Encoded | InvalidInput:
        try:
            return await state.predictor.encode(inputs, version, body.truncation)
        except InvalidInput as error:
            return error

    versions = {_rules(run.version, body): run.version for run in runs}
    made = await asyncio.gather(*map(one, versions.values()))
    return dict(zip(versions, made, strict=True))


def _error(error: ServiceError) -> dict[str, Any]:
    failure = failure_of(error)
    return failure.body() | {"status": failure.status}
