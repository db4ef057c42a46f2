"""POST /classify: the protocol of vLLM."""

import time
import uuid
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import Response
from pydantic import BaseModel, Field, StrictBool

from adapters.backbone.text_encoder import TextInput, Truncation
from service.api.http.errors import Failure
from service.api.predict.context import Endpoint, PredictionContext
from service.api.predict.examples import PREDICT_ERRORS
from service.api.predict.inputs import check_fit, check_number, read_key
from service.api.predict.responses import build_response, check_answer_size
from service.api.predict.schemas import MAX_REFERENCE, Context
from service.api.protocols.examples import CLASSIFY_REQUESTS, CLASSIFY_RESPONSE, reshaped
from service.inference.predictor import Predictions

_HOW_CUT = '"truncate_prompt_tokens": -1'
_HOW_PAIR = "this route takes no pairs: send them to POST /v1/{task}/predict"
_ERROR_TYPES = {
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    429: "RateLimitError",
}


class ClassifyRequest(BaseModel):
    """A task and texts to classify; vLLM's other fields are ignored."""

    model: Annotated[str, Field(max_length=MAX_REFERENCE, description="A task: `sst2`, `sst2@7`, `sst2@canary`.")]
    input: str | Annotated[list[str], Field(fail_fast=True)]
    truncate_prompt_tokens: Annotated[
        Literal[-1] | None, Field(description="-1: cut over-long texts at their end; otherwise they are 422.")
    ] = None
    use_activation: Annotated[StrictBool | None, Field(description="false: logits instead of probabilities.")] = None
    context: Context | None = None


class ClassifyData(BaseModel):
    """The prediction of one input."""

    index: int
    label: str | None
    probs: Annotated[list[float], Field(description="The probability of every label, in the task's order.")]
    num_classes: int


class ClassifyUsage(BaseModel):
    """Numbers of tokens."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int


class ClassifyResponse(BaseModel):
    """One entry per input, in order."""

    id: str
    object: Literal["list"]
    created: Annotated[int, Field(description="Unix time.")]
    model: str
    gate: Annotated[
        str | None,
        Field(description="Only for a task with gates: the gate that was used.", exclude_if=lambda gate: gate is None),
    ] = None
    data: list[ClassifyData]
    usage: ClassifyUsage


class ErrorDetail(BaseModel):
    """An error in OpenAI's API."""

    message: str
    type: str
    param: str | None
    code: Annotated[int, Field(description="The HTTP status.")]


class ClassifyError(BaseModel):
    """The body of an error in OpenAI's API."""

    error: ErrorDetail


async def classify(context: PredictionContext) -> Response:
    """The best label and the probabilities of all of them.

    A regression has no label, and its value as the only entry of `probs`. Texts only: tasks that take pairs have
    other routes.
    """
    body = context.parse_body(ClassifyRequest)
    admitted = context.admit(context.resolve(body.model))
    version = admitted.version
    inputs: list[TextInput] = [body.input] if isinstance(body.input, str) else list(body.input)
    check_number(inputs, context.state.settings.max_inputs, "input")
    check_fit(inputs, version.task, version.spec, _HOW_PAIR)
    check_answer_size(len(inputs), version.spec)
    truncation: Truncation | None = "error" if body.truncate_prompt_tokens is None else None
    key = read_key(body.context, version)
    predictions = await context.predict(admitted, inputs, truncation, _HOW_CUT, key=key)
    num_tokens = predictions.num_tokens
    answer = {
        "id": f"classify-{uuid.uuid4().hex}",
        "object": "list",
        "created": int(time.time()),
        "model": body.model,
        **({} if predictions.gate is None else {"gate": predictions.gate}),
        "data": _data(predictions, raw_scores=body.use_activation is False),
        "usage": {"prompt_tokens": num_tokens, "total_tokens": num_tokens, "completion_tokens": 0},
    }
    return await build_response(answer, predictions.logits.size)


def write_error(failure: Failure) -> dict[str, Any]:
    """Write an error as `ClassifyError`."""
    kind = "BadRequestError" if failure.status < 500 else "InternalServerError"
    error_type = _ERROR_TYPES.get(failure.status, kind)
    return {"error": {"message": failure.message, "type": error_type, "param": None, "code": failure.status}}


CLASSIFY = Endpoint(
    path="/classify",
    handle=classify,
    request=ClassifyRequest,
    examples=CLASSIFY_REQUESTS,
    response=ClassifyResponse,
    responses={200: CLASSIFY_RESPONSE, **reshaped(PREDICT_ERRORS, ClassifyError, write_error)},
    summary="Classify as vLLM does",
    tag="vLLM",
    shape=write_error,
)


def _data(predictions: Predictions, *, raw_scores: bool) -> Iterator[dict[str, Any]]:
    labels = predictions.version.spec.labels
    best = predictions.logits.argmax(axis=1).tolist()
    for index, row in enumerate(predictions.scores(raw_scores=raw_scores)):
        label = labels[best[index]] if labels else None
        yield {"index": index, "label": label, "probs": row.tolist(), "num_classes": len(row)}
