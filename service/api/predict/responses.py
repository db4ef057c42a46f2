"""Responses of predictions: `PredictResponse` written to JSON without building its models."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from fastapi import Response
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from adapters.config import TaskSpec
from adapters.method.heads import MultiLabelOutput, Output, RegressionOutput, SingleLabelOutput
from service.api.predict.schemas import PredictOptions
from service.errors import InvalidInput
from service.inference.predictor import Predictions

_T = TypeVar("_T")
MAX_ANSWER_BYTES = 8 * 1024 * 1024  # building an answer takes about twice its size
_MAX_SCORES_INLINE = 10_000  # built on the event loop, in about 5 ms
_SCORE_BYTES = 48  # of a score as {"label":"","score":0.12345678901234567}, without the label
_ROWS = 64  # inputs decoded at a time


class JsonResponse(Response):
    """200 with JSON. Starlette's own class takes twice as long: it is for any media type, and for work afterwards."""

    def __init__(self, content: bytes) -> None:
        self.status_code, self.body, self.background = 200, content, None
        self.raw_headers = [(b"content-length", b"%d" % len(content)), (b"content-type", b"application/json")]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body})


async def build_response(answer: Any, num_scores: int) -> Response:
    """Write `answer`, which may hold iterators, as JSON; with many scores in a thread, so that the loop goes on."""
    content = await run_if_large_in_thread(lambda: to_json(answer, inf_nan_mode="null"), num_scores)
    return JsonResponse(content)


async def run_if_large_in_thread(make: Callable[[], _T], num_scores: int) -> _T:
    """Call `make()`: in a thread if the answer has many scores, else at once."""
    return make() if num_scores <= _MAX_SCORES_INLINE else await asyncio.to_thread(make)


def check_answer_size(num_inputs: int, spec: TaskSpec, top_k: int | None = None, *, beside: int = 0) -> int:
    """Return the most bytes that the scores of `num_inputs` inputs can take.

    Raises InvalidInput when they exceed MAX_ANSWER_BYTES together with `beside`, the bytes of the request's other
    tasks.
    """
    if top_k is None:
        num_bytes = num_inputs * (spec.num_outputs * _SCORE_BYTES + sum(len(label.encode()) for label in spec.labels))
    else:
        longest = max((len(label.encode()) for label in spec.labels), default=0)
        num_bytes = num_inputs * min(top_k, spec.num_outputs) * (_SCORE_BYTES + longest)
    if num_bytes + beside > MAX_ANSWER_BYTES:
        shown = spec.num_outputs if top_k is None else top_k
        raise InvalidInput(
            f"the answer may have {num_bytes + beside:,} bytes ({num_inputs} inputs with {shown} scores each); the "
            f"limit is {MAX_ANSWER_BYTES:,}: send fewer inputs at a time, or ask for the best labels only"
        )
    return num_bytes


def to_answer(predictions: Predictions, options: PredictOptions) -> dict[str, Any]:
    """Return the fields of `PredictResponse`; `predictions` is an iterator that decodes while JSON is written."""
    version, timings = predictions.version, predictions.timings
    return {
        "task": version.task,
        "version": version.version,
        "digest": version.digest,
        **({} if predictions.gate is None else {"gate": predictions.gate}),
        "predictions": _decoded(predictions, options),
        "timings_ms": {
            "tokenize": to_milliseconds(timings.tokenize_s),
            "queue": to_milliseconds(timings.queue_s),
            "inference": to_milliseconds(timings.inference_s),
        },
    }


def to_milliseconds(seconds: float) -> float:
    """Convert to milliseconds with three decimals."""
    return round(seconds * 1000, 3)


def _decoded(predictions: Predictions, options: PredictOptions) -> Iterator[dict[str, Any]]:
    for first in range(0, len(predictions.encodings), _ROWS):
        rows = slice(first, first + _ROWS)
        outputs = predictions.outputs(rows, raw_scores=options.raw_scores)
        for output, encoding in zip(outputs, predictions.encodings[rows], strict=True):
            yield _fields(output, options) | {"truncated": encoding.truncated, "tokens": len(encoding)}


def _fields(output: Output, options: PredictOptions) -> dict[str, Any]:
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
