"""POST /tei/{task}/predict: POST /predict of text-embeddings-inference, in which a flat list of two is ONE PAIR."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import Response
from pydantic import BaseModel, Field, StrictBool

from adapters.backbone.text_encoder import TextInput, Truncation
from service.api.http.errors import Failure
from service.api.http.openapi import ErrorBody
from service.api.predict.context import Endpoint, PredictionContext
from service.api.predict.examples import PREDICT_ERRORS
from service.api.predict.inputs import check_fit, check_number, read_key
from service.api.predict.responses import build_response, check_answer_size
from service.api.predict.schemas import Context
from service.api.protocols.examples import TEI_REQUESTS, TEI_RESPONSE, reshaped
from service.inference.predictor import Predictions

UNNAMED = "LABEL_0"  # Transformers' name for the one output of a regression
_HELP = 'inputs must be a text, ONE pair ["a", "b"], or a batch of texts and pairs [["a"], ["a", "b"], ...]'
_HOW_CUT = '"truncate": true'
_HOW_PAIR = 'write ["a", "b"], or [["a", "b"], ...] for several'
_Sequence = Annotated[list[str], Field(fail_fast=True, min_length=1, max_length=2)]  # a text, or a pair


class TeiRequest(BaseModel):
    """`inputs`: a text, ONE pair `["a", "b"]`, or a batch `[["a"], ["a", "b"], ...]` of texts and pairs."""

    inputs: str | _Sequence | Annotated[list[_Sequence], Field(fail_fast=True)]
    truncate: Annotated[StrictBool | None, Field(description="Cut over-long texts; otherwise they are 422.")] = False
    truncation_direction: Annotated[
        Literal["left", "right", "Left", "Right"] | None,
        Field(description="Which end is cut; by default as the task was trained."),
    ] = None
    raw_scores: Annotated[StrictBool, Field(description="Logits instead of probabilities.")] = False
    context: Context | None = None


class TeiPrediction(BaseModel):
    """One label."""

    score: float
    label: str


async def tei_predict(context: PredictionContext) -> Response:
    """Every label with its score, best first; for a batch a list of such lists.

    A regression has one entry, `LABEL_0`, with its value.
    """
    body, version = context.parse_body(TeiRequest), context.target.version
    inputs, is_batch = _read_inputs(body)
    check_number(inputs, context.state.settings.max_inputs)
    check_fit(inputs, version.task, version.spec, _HOW_PAIR)
    truncation: Truncation | None = None if body.truncate else "error"
    if body.truncate and body.truncation_direction:
        truncation = "left" if body.truncation_direction.lower() == "left" else "right"
    check_answer_size(len(inputs), version.spec)
    key = read_key(body.context, version)
    predictions = await context.predict(context.target, inputs, truncation, _HOW_CUT, key=key)
    rows = _rank(predictions, raw_scores=body.raw_scores)
    return await build_response(rows if is_batch else next(rows), predictions.logits.size)


def write_error(failure: Failure) -> dict[str, Any]:
    """Write an error with TEI's own names of error types."""
    kind = "Validation" if failure.status < 500 else "Backend"
    error_type = {429: "Overloaded", 503: "Unhealthy"}.get(failure.status, kind)
    return {"error": failure.message, "error_type": error_type}


TEI_PREDICT = Endpoint(
    path="/tei/{task}/predict",
    handle=tei_predict,
    request=TeiRequest,
    examples=TEI_REQUESTS,
    response=list[TeiPrediction] | list[list[TeiPrediction]],
    responses={200: TEI_RESPONSE, **reshaped(PREDICT_ERRORS, ErrorBody, write_error)},
    summary="Predict as TEI does",
    tag="text-embeddings-inference",
    shape=write_error,
    inputs_help=_HELP,
)


def _read_inputs(body: TeiRequest) -> tuple[list[TextInput], bool]:
    """Return the texts and pairs, and True if they came as a batch."""
    given = body.inputs
    if isinstance(given, str):
        return [given], False
    if not given or isinstance(given[0], list):
        return [_text_input(item) for item in given if isinstance(item, list)], True
    return [_text_input([item for item in given if isinstance(item, str)])], False


def _text_input(texts: list[str]) -> TextInput:
    return texts[0] if len(texts) == 1 else (texts[0], texts[1])


def _rank(predictions: Predictions, *, raw_scores: bool) -> Iterator[list[dict[str, Any]]]:
    labels = predictions.version.spec.labels or (UNNAMED,)
    for row in predictions.scores(raw_scores=raw_scores):
        ranked = sorted(zip(row.tolist(), labels, strict=True), key=lambda item: item[0], reverse=True)
        yield [{"score": score, "label": label} for score, label in ranked]
