"""The answer of a prediction: `PredictResponse` of schemas.py, without making its models."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from adapters.config import TaskSpec
from adapters.method.heads import MultiLabelOutput, Output, RegressionOutput, SingleLabelOutput
from service.api.schemas import PredictOptions
from service.errors import InvalidInput
from service.inference.predictor import Predictions

_T = TypeVar("_T")
_MAX_SCORES_AT_ONCE = 10_000  # of an answer that the event loop builds itself, in some 5 ms
MAX_ANSWER_BYTES = 8 * 1024 * 1024  # while an answer is built, it takes about twice its size
_SCORE_BYTES = 48  # of a score as {"label":"","score":0.12345678901234567}, beside the label
_ROWS = 64  # inputs whose outputs exist at the same time


async def build(make: Callable[[], _T], num_scores: int) -> _T:
    """`make()`, for an answer with `num_scores` scores: in a thread where they are many, beside other requests."""
    return make() if num_scores <= _MAX_SCORES_AT_ONCE else await asyncio.to_thread(make)


def check_size(num_inputs: int, spec: TaskSpec, top_k: int | None = None, *, beside: int = 0) -> int:
    """Bytes that the scores of `num_inputs` inputs may take. Raises InvalidInput where these, and `beside` for other
    tasks of the same request, are over MAX_ANSWER_BYTES."""
    if top_k is None:
        num_bytes = num_inputs * (spec.num_outputs * _SCORE_BYTES + sum(len(label.encode()) for label in spec.labels))
    else:
        longest = max((len(label.encode()) for label in spec.labels), default=0)
        num_bytes = num_inputs * min(top_k, spec.num_outputs) * (_SCORE_BYTES + longest)
    if num_bytes + beside > MAX_ANSWER_BYTES:
        shown = spec.num_outputs if top_k is None else top_k
        raise InvalidInput(
            f"the answer may have {num_bytes + beside:,} bytes ({num_inputs} inputs with {shown} scores each), and at "
            f"most {MAX_ANSWER_BYTES:,} are sent: ask for fewer inputs at a time, or for the best labels alone"
        )
    return num_bytes


def answer_of(computed: Predictions, options: PredictOptions) -> dict[str, Any]:
    """One prediction per input, in order, ready for JSON; `predictions` are made while they are written."""
    version, timings = computed.version, computed.timings
    return {
        "task": version.task,
        "version": version.version,
        "digest": version.digest,
        "predictions": _predictions(computed, options),
        "timings_ms": {
            "tokenize": milliseconds(timings.tokenize_s),
            "queue": milliseconds(timings.queue_s),
            "inference": milliseconds(timings.inference_s),
        },
    }


def milliseconds(seconds: float) -> float:
    """As answers show them."""
    return round(seconds * 1000, 3)


def _predictions(computed: Predictions, options: PredictOptions) -> Iterator[dict[str, Any]]:
    for first in range(0, len(computed.encodings), _ROWS):
        rows = slice(first, first + _ROWS)
        outputs = computed.outputs(rows, raw_scores=options.raw_scores)
        for output, encoding in zip(outputs, computed.encodings[rows], strict=True):
            yield _prediction(output, options) | {"truncated": encoding.truncated, "tokens": len(encoding)}


def _prediction(output: Output, options: PredictOptions) -> dict[str, Any]:
    if isinstance(output, RegressionOutput):
        return {"value": output.value}
    if isinstance(output, SingleLabelOutput):
        return {"label": output.label, "score": output.score, "scores": _scores(output, options)}
    return {"labels": output.labels, "scores": _scores(output, options)}


def _scores(output: SingleLabelOutput | MultiLabelOutput, options: PredictOptions) -> Any:
    if options.top_k is None and options.scores_as == "object":
        return output.scores
    ranked = sorted(output.scores.items(), key=lambda item: item[1], reverse=True)[: options.top_k]
    if options.scores_as == "object":
        return dict(ranked)
    return [{"label": label, "score": score} for label, score in ranked]
