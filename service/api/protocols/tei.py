"""POST /tei/{task}/predict: as text-embeddings-inference has POST /predict. There a flat list of two is ONE PAIR."""

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Response
from pydantic import BaseModel, Field, StrictBool
from pydantic_core import to_json

from adapters.backbone.text_encoder import TextInput, Truncation
from service.api.examples import KEY_ERRORS, PREDICT_ERRORS
from service.api.http.auth import documented
from service.api.http.errors import Failure
from service.api.http.paths import Reference
from service.api.http.time_limit import time_limit_parameter
from service.api.predict.inputs import check_fit, check_number
from service.api.predict.responses import build, check_size
from service.api.predict.visit import Admitted, ThisVisit, task_in_path, visited_route
from service.api.protocols.examples import TEI_REQUESTS, TEI_RESPONSE, reshaped
from service.api.schemas import ErrorBody
from service.inference.predictor import Predictions
from service.settings import Settings

UNNAMED = "LABEL_0"  # of the one output of a regression, as Transformers calls it
_HELP = 'inputs must be a text, ONE pair ["a", "b"], or a batch of texts and pairs [["a"], ["a", "b"], ...]'
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
    raw_scores: Annotated[StrictBool, Field(description="Logits in place of probabilities.")] = False


class TeiPrediction(BaseModel):
    """One label."""

    score: float
    label: str


def tei_router(settings: Settings) -> APIRouter:
    """The route; with ADAKRON_REQUIRE_KEY it needs a key."""
    route = visited_route(settings, _shape, task_in_path, _HELP)
    errors = PREDICT_ERRORS | (KEY_ERRORS if settings.require_key else {})
    router = APIRouter(route_class=route, tags=["text-embeddings-inference"], dependencies=documented(settings))

    @router.post(
        "/tei/{task}/predict",
        response_model=list[TeiPrediction] | list[list[TeiPrediction]],
        responses={200: TEI_RESPONSE, **reshaped(errors, ErrorBody, _shape)},
        summary="Predict as TEI does",
        openapi_extra={"parameters": [time_limit_parameter(settings)]},
    )
    async def tei_predict(
        task: Reference, visit: ThisVisit, admitted: Admitted, body: TeiRequest = Body(openapi_examples=TEI_REQUESTS)
    ) -> Response:
        """Every label with its score, best first; for a batch a list of such lists. A regression has one entry,
        `LABEL_0`, with its value."""
        version, permit = admitted
        inputs, is_batch = _inputs(body)
        check_number(inputs, settings.max_inputs)
        check_fit(inputs, version.task, version.spec, _HOW_PAIR)
        truncation: Truncation | None = None if body.truncate else "error"
        if body.truncate and body.truncation_direction:
            truncation = "left" if body.truncation_direction.lower() == "left" else "right"
        check_size(len(inputs), version.spec)
        visit.state.predictor.reserve(permit, inputs, version)
        encoded = partial(visit.state.predictor.encode, inputs, version, truncation, '"truncate": true')
        computed = await visit.state.predictor.predict(version, permit, encoded)
        rows = _rows(computed, raw_scores=body.raw_scores)
        content = await build(
            lambda: to_json(rows if is_batch else next(rows), inf_nan_mode="null"), computed.logits.size
        )
        return Response(content, media_type="application/json")

    return router


def _inputs(body: TeiRequest) -> tuple[list[TextInput], bool]:
    """The texts and pairs, and whether they came as a batch."""
    given = body.inputs
    if isinstance(given, str):
        return [given], False
    if not given or isinstance(given[0], list):
        return [_sequence(item) for item in given if isinstance(item, list)], True
    return [_sequence([item for item in given if isinstance(item, str)])], False


def _sequence(texts: list[str]) -> TextInput:
    return texts[0] if len(texts) == 1 else (texts[0], texts[1])


def _rows(computed: Predictions, *, raw_scores: bool) -> Iterator[list[dict[str, Any]]]:
    labels = computed.version.spec.labels or (UNNAMED,)
    for values in computed.scores(raw_scores=raw_scores):
        ranked = sorted(zip(values.tolist(), labels, strict=True), key=lambda item: item[0], reverse=True)
        yield [{"score": score, "label": label} for score, label in ranked]


def _shape(failure: Failure) -> dict[str, Any]:
    """With TEI's own names of error types."""
    kind = "Validation" if failure.status < 500 else "Backend"
    error_type = {429: "Overloaded", 503: "Unhealthy"}.get(failure.status, kind)
    return {"error": failure.message, "error_type": error_type}
