"""Results of the clients: frozen values whose fields are those of docs/http-api.md.

Fields that only a newer server knows are left out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

from .errors import ApiError, api_error

R = TypeVar("R")
TaskType = Literal["single_label", "multi_label", "regression"]


@dataclass(frozen=True, slots=True)
class LabelPrediction:
    """A prediction of a single_label task: the best label, and the probability of each label.

    `scores` are in the order of the labels; with `top_k` or `scores_as="list"` best first.
    """

    label: str
    score: float
    scores: Mapping[str, float]
    truncated: bool
    tokens: int


@dataclass(frozen=True, slots=True)
class LabelsPrediction:
    """A prediction of a multi_label task: the labels of 0.5 and more, and each label's own probability."""

    labels: tuple[str, ...]
    scores: Mapping[str, float]
    truncated: bool
    tokens: int


@dataclass(frozen=True, slots=True)
class ValuePrediction:
    """A prediction of a regression task."""

    value: float
    truncated: bool
    tokens: int


Prediction = LabelPrediction | LabelsPrediction | ValuePrediction


@dataclass(frozen=True, slots=True)
class TimingsMs:
    """Milliseconds in the stages of the server."""

    tokenize: float
    queue: float
    inference: float


@dataclass(frozen=True, slots=True)
class Predictions:
    """One prediction per input, in order, and the version that computed them."""

    task: str
    version: int
    digest: str
    predictions: tuple[Prediction, ...]
    timings_ms: TimingsMs
    gate: str | None = None  # of a task with gates: the field whose key chose the adapter, or "mean"


@dataclass(frozen=True, slots=True)
class PredictionsByTask:
    """The predictions of each requested task, or its error."""

    results: Mapping[str, Predictions | ApiError]

    def __getitem__(self, task: str) -> Predictions:
        """Return the predictions of `task`. Raises its error."""
        result = self.results[task]
        if isinstance(result, ApiError):
            raise result
        return result


@dataclass(frozen=True, slots=True)
class Task:
    """The live version of a task."""

    task: str
    version: int
    digest: str
    type: TaskType
    labels: tuple[str, ...]
    pair: bool
    max_length: int
    truncation: str  # where an over-long text is cut by default: right, left or head-tail
    temperature: float
    context: str | None  # the field of the context that chooses a gate; None for a task without gates
    metrics: Mapping[str, float]


def parse(kind: type[R], body: Mapping[str, Any], **parsed: Any) -> R:
    """Build a `kind` from the JSON object `body`; `parsed` are the fields that hold values of other classes.

    Lists become tuples. Raises LookupError or TypeError if `body` is not such an object.
    """
    for field in fields(kind):  # type: ignore[arg-type] # every R here is a dataclass
        if field.name not in parsed:
            value = body[field.name]
            parsed[field.name] = tuple(value) if isinstance(value, list) else value
    return kind(**parsed)


def parse_list(name: str, parse_item: Callable[[Any], R]) -> Callable[[Any], tuple[R, ...]]:
    """Return a parser of the list in the field `name` of an answer."""
    return lambda body: tuple(map(parse_item, body[name]))


def parse_predictions(body: Mapping[str, Any]) -> Predictions:
    """Parse the answer of POST /v1/{task}/predict."""
    predictions = tuple(map(_parse_prediction, body["predictions"]))
    timings = parse(TimingsMs, body["timings_ms"])
    return parse(Predictions, body, predictions=predictions, timings_ms=timings, gate=body.get("gate"))


def parse_predictions_by_task(body: Mapping[str, Any]) -> PredictionsByTask:
    """Parse the answer of POST /v1/predict."""
    return PredictionsByTask(
        {
            name: api_error(result["status"], result) if "error" in result else parse_predictions(result)
            for name, result in body["results"].items()
        }
    )


def _parse_prediction(body: Mapping[str, Any]) -> Prediction:
    if "value" in body:
        return parse(ValuePrediction, body)
    scores = body["scores"]
    if isinstance(scores, list):
        scores = {item["label"]: item["score"] for item in scores}
    if "labels" in body:
        return parse(LabelsPrediction, body, scores=scores)
    return parse(LabelPrediction, body, scores=scores)
