"""What a client returns: frozen values. Fields that a newer server adds are left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from service.sdk.errors import ApiError, error_class

TaskType = Literal["single_label", "multi_label", "regression"]


@dataclass(frozen=True, slots=True)
class LabelPrediction:
    """Of a single_label task: the best label, and each label's probability; best first with `top_k` or as a list."""

    label: str
    score: float
    scores: Mapping[str, float]
    truncated: bool
    num_tokens: int


@dataclass(frozen=True, slots=True)
class LabelsPrediction:
    """Of a multi_label task: the labels of 0.5 and more, and each label's own probability."""

    labels: tuple[str, ...]
    scores: Mapping[str, float]
    truncated: bool
    num_tokens: int


@dataclass(frozen=True, slots=True)
class ValuePrediction:
    """Of a regression."""

    value: float
    truncated: bool
    num_tokens: int


Prediction = LabelPrediction | LabelsPrediction | ValuePrediction


@dataclass(frozen=True, slots=True)
class TimingsMs:
    """Milliseconds in the server's stages."""

    tokenize: float
    queue: float
    inference: float


@dataclass(frozen=True, slots=True)
class Predictions:
    """One prediction per input, in order, and which version gave them."""

    task: str
    version: int
    digest: str
    predictions: tuple[Prediction, ...]
    timings_ms: TimingsMs


@dataclass(frozen=True, slots=True)
class PredictionsByTask:
    """By the names that were asked for: what each task says, or why it says nothing."""

    results: Mapping[str, Predictions | ApiError]

    def __getitem__(self, task: str) -> Predictions:
        """What the task says. Raises its error."""
        result = self.results[task]
        if isinstance(result, ApiError):
            raise result
        return result


@dataclass(frozen=True, slots=True)
class Task:
    """What is live under a name."""

    task: str
    version: int
    digest: str
    type: TaskType
    labels: tuple[str, ...]
    pair: bool
    max_length: int
    truncation: str  # where an over-long text is cut by default: right, left or head-tail
    temperature: float
    metrics: Mapping[str, float]


def predictions_of(body: Mapping[str, Any]) -> Predictions:
    """From the answer of POST /v1/{task}/predict."""
    timings = body["timings_ms"]
    return Predictions(
        task=body["task"],
        version=body["version"],
        digest=body["digest"],
        predictions=tuple(map(_prediction, body["predictions"])),
        timings_ms=TimingsMs(timings["tokenize"], timings["queue"], timings["inference"]),
    )


def by_task_of(body: Mapping[str, Any]) -> PredictionsByTask:
    """From the answer of POST /v1/predict."""
    return PredictionsByTask(
        {
            name: _error(result) if "error" in result else predictions_of(result)
            for name, result in body["results"].items()
        }
    )


def task_of(body: Mapping[str, Any]) -> Task:
    """From the answer of GET /v1/tasks/{task}."""
    return Task(
        task=body["task"],
        version=body["version"],
        digest=body["digest"],
        type=cast(TaskType, body["type"]),
        labels=tuple(body["labels"]),
        pair=body["pair"],
        max_length=body["max_length"],
        truncation=body["truncation"],
        temperature=body["temperature"],
        metrics=body["metrics"],
    )


def tasks_of(body: Mapping[str, Any]) -> tuple[Task, ...]:
    """From the answer of GET /v1/tasks."""
    return tuple(map(task_of, body["tasks"]))


def _prediction(body: Mapping[str, Any]) -> Prediction:
    truncated, num_tokens = body["truncated"], body["tokens"]
    if "value" in body:
        return ValuePrediction(body["value"], truncated, num_tokens)
    scores = body["scores"]
    if isinstance(scores, list):
        scores = {item["label"]: item["score"] for item in scores}
    if "labels" in body:
        return LabelsPrediction(tuple(body["labels"]), scores, truncated, num_tokens)
    return LabelPrediction(body["label"], body["score"], scores, truncated, num_tokens)


def _error(body: Mapping[str, Any]) -> ApiError:
    status: int = body["status"]
    return error_class(status)(body["error"], status, body["error_type"], body.get("reason"))
