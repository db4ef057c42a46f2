"""POST /v1/predict: the same texts by several tasks.

Each task gets a permit of its own, so that it counts towards that task's share. All permits are taken before any work,
or the whole request is answered 429. Texts are tokenized once for all tasks with the same rules; then all requests are
queued at once, so that they share a batch as far as the token budget allows.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Response

from adapters.backbone.text_encoder import TextInput, Truncation
from adapters.config import SpecialTokens
from service.api.http.errors import INPUTS_HELP, failure_of
from service.api.predict.context import Admitted, Endpoint, PredictionContext
from service.api.predict.examples import MANY_ERRORS, MANY_REQUESTS, MANY_RESPONSE
from service.api.predict.inputs import check_fields_used, check_fit, check_options, read_inputs, read_own_key
from service.api.predict.responses import build_response, check_answer_size, to_answer, to_milliseconds
from service.api.predict.schemas import PredictManyRequest, PredictManyResponse
from service.core import PublishedVersion
from service.errors import DeadlineExceeded, InvalidInput, Overloaded, ServiceError, ShuttingDown
from service.inference.predictor import Encoded, Predictor

_Rules = tuple[int, SpecialTokens, Truncation]  # max_length; all that tokenizing depends on
_Answer = dict[str, Any]
_FOR_ALL = (Overloaded, ShuttingDown, DeadlineExceeded)  # without a permit for one task, the whole request fails


async def predict_many(context: PredictionContext) -> Response:
    """Classify one text or many by up to 64 tasks at once.

    Each task has its answer or its own error; the error of one task does not affect the others.
    """
    started = time.perf_counter()
    body = context.parse_body(PredictManyRequest)
    for reference in body.tasks:
        context.name_task(reference)
    results, tokenize_s = await _predict_all(context, body)
    runs = context.runs.items()
    for reference, run in runs:
        run.status, run.error_type = results[reference].get("status", 200), results[reference].get("error_type")
    timings = {"tokenize": to_milliseconds(tokenize_s), "total": to_milliseconds(time.perf_counter() - started)}
    num_scores = sum(run.num_inputs * run.version.spec.num_outputs for _, run in runs if run.version)
    return await build_response({"results": results, "timings_ms": timings}, num_scores)


PREDICT_MANY = Endpoint(
    path="/v1/predict",
    handle=predict_many,
    request=PredictManyRequest,
    examples=MANY_REQUESTS,
    response=PredictManyResponse,
    responses={200: MANY_RESPONSE, **MANY_ERRORS},
    summary="Classify texts by several tasks",
    tag="predict",
    inputs_help=INPUTS_HELP,
)


@dataclass(frozen=True)
class _Run:
    """One task that has a permit."""

    reference: str
    admitted: Admitted
    num_bytes: int  # the most that its part of the answer can take
    key: bytes | None  # salted digest of the key in the task's own field of the context


async def _predict_all(context: PredictionContext, body: PredictManyRequest) -> tuple[dict[str, _Answer], float]:
    """Return each task's answer or error by reference, in the request's order, and the seconds of tokenizing."""
    inputs = read_inputs(body, context.state.settings.max_inputs)
    results: dict[str, _Answer] = {reference: {} for reference in body.tasks}
    runs: list[_Run] = []
    for reference in body.tasks:
        try:
            runs.append(_admit(context, body, reference, inputs, sum(run.num_bytes for run in runs)))
        except _FOR_ALL:
            raise
        except ServiceError as error:
            results[reference] = _error(error)
    versions = [run.version for run in context.runs.values() if run.version is not None]
    if body.context is not None and len(versions) == len(results):  # a task that is not found might have the field
        check_fields_used(body.context, versions)
    runs = await _granted(runs, results)
    predictor = context.state.predictor
    encoded: asyncio.Future[Mapping[_Rules, Encoded | InvalidInput]] = asyncio.get_running_loop().create_future()

    async def predict(run: _Run) -> None:
        version = run.admitted.version

        async def own_encodings() -> Encoded:
            own = (await encoded)[_rules(version, body)]
            if isinstance(own, InvalidInput):
                raise own
            return own

        try:
            predictions = await predictor.predict(version, run.admitted.ticket, own_encodings, run.key)
            results[run.reference] = to_answer(predictions, body)
        except ServiceError as error:
            results[run.reference] = _error(error)
        finally:  # another task of this request may need the room of its adapter
            run.admitted.ticket.close()

    async with asyncio.TaskGroup() as group:
        for run in runs:
            group.create_task(predict(run))
        by_rules = await _encode(inputs, runs, body, predictor)
        encoded.set_result(by_rules)
    return results, sum(item[1] for item in by_rules.values() if not isinstance(item, InvalidInput))


def _admit(
    context: PredictionContext, body: PredictManyRequest, reference: str, inputs: Sequence[TextInput], size: int
) -> _Run:
    """Check the request against one task and get its permit; `size` is the bytes of the earlier tasks' answers."""
    version = context.resolve(reference)
    check_options(body, version.task, version.spec)
    check_fit(inputs, version.task, version.spec)
    num_bytes = check_answer_size(len(inputs), version.spec, body.top_k, beside=size)
    key = read_own_key(body.context, version)
    admitted = context.admit(version)
    context.reserve(admitted, inputs)
    return _Run(reference, admitted, num_bytes, key)


async def _granted(runs: Sequence[_Run], results: dict[str, _Answer]) -> list[_Run]:
    """Wait for the permits of all runs at once, and return those that have one. Raises the error for all of them."""
    try:
        async with asyncio.TaskGroup() as group:
            granted = [group.create_task(_is_granted(run, results)) for run in runs]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [run for run, task in zip(runs, granted, strict=True) if task.result()]


async def _is_granted(run: _Run, results: dict[str, _Answer]) -> bool:
    """Wait for the run's permit. An error that concerns this task alone becomes its result."""
    try:
        await run.admitted.ticket.granted()
    except _FOR_ALL:
        raise
    except ServiceError as error:
        results[run.reference] = _error(error)
        return False
    return True


def _rules(version: PublishedVersion, body: PredictManyRequest) -> _Rules:
    spec = version.spec
    return spec.max_length, spec.special_tokens, body.truncation or spec.truncation


async def _encode(
    inputs: Sequence[TextInput], runs: Sequence[_Run], body: PredictManyRequest, predictor: Predictor
) -> dict[_Rules, Encoded | InvalidInput]:
    """Tokenize the inputs once for each set of rules."""

    async def encode(version: PublishedVersion) -> Encoded | InvalidInput:
        try:
            return await predictor.encode(inputs, version, body.truncation)
        except InvalidInput as error:
            return error

    versions = {_rules(run.admitted.version, body): run.admitted.version for run in runs}
    encoded = await asyncio.gather(*map(encode, versions.values()))
    return dict(zip(versions, encoded, strict=True))


def _error(error: ServiceError) -> _Answer:
    failure = failure_of(error)
    return failure.body() | {"status": failure.status}
