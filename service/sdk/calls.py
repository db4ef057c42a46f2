"""What both clients have in common: calls as values, and from an answer to a result or an error. It sends nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

import httpx

from service.sdk.errors import AdaKronError, ApiError, TimedOut, Unreachable, error_class
from service.sdk.results import Predictions, PredictionsByTask, Task, by_task_of, predictions_of, task_of, tasks_of

T = TypeVar("T")
Input = str | tuple[str, str]  # a text, or a pair
Truncation = Literal["right", "left", "head-tail", "error"]
ScoresAs = Literal["object", "list"]
DEFAULT_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call of the API."""

    method: str
    path: str
    result_of: Callable[[Mapping[str, Any]], T]
    body: Mapping[str, Any] | None = None


def predict_call(
    task: str,
    inputs: Input | Sequence[Input],
    top_k: int | None,
    raw_scores: bool,
    truncation: Truncation | None,
    scores_as: ScoresAs,
) -> Call[Predictions]:
    """POST /v1/{task}/predict."""
    body = _body(inputs, top_k, raw_scores, truncation, scores_as)
    return Call("POST", f"/v1/{_segment(task)}/predict", predictions_of, body)


def predict_many_call(
    inputs: Input | Sequence[Input],
    tasks: Sequence[str],
    top_k: int | None,
    raw_scores: bool,
    truncation: Truncation | None,
    scores_as: ScoresAs,
) -> Call[PredictionsByTask]:
    """POST /v1/predict."""
    body = _body(inputs, top_k, raw_scores, truncation, scores_as) | {"tasks": list(tasks)}
    return Call("POST", "/v1/predict", by_task_of, body)


def tasks_call() -> Call[tuple[Task, ...]]:
    """GET /v1/tasks."""
    return Call("GET", "/v1/tasks", tasks_of)


def task_call(task: str) -> Call[Task]:
    """GET /v1/tasks/{task}."""
    return Call("GET", f"/v1/tasks/{_segment(task)}", task_of)


def headers_of(key: str | None) -> dict[str, str]:
    """Of every call."""
    key = (key or "").strip()  # keys out of files and secrets end in a newline
    return {"Authorization": f"Bearer {key}"} if key else {}


def time_limit_header(left_s: float) -> dict[str, str]:
    """So that the server computes nothing that nobody waits for any more."""
    return {"X-Request-Timeout-Ms": str(max(1, int(left_s * 1000)))}


def result_of(call: Call[T], response: httpx.Response) -> T:
    """Raises ApiError, and TimedOut where the server ran out of time."""
    try:
        return _result_of(call, response)
    except AdaKronError as error:
        error.request_id = response.headers.get("X-Request-Id")
        raise


def _result_of(call: Call[T], response: httpx.Response) -> T:
    try:
        body = response.json()
    except ValueError:
        body = None
    if response.is_success and isinstance(body, dict):
        try:
            return call.result_of(body)
        except (KeyError, TypeError) as error:
            raise ApiError(f"an answer that is none of an AdaKron server: {error!r}", response.status_code) from error
    if response.status_code == 504:
        raise TimedOut(str(body["error"]) if isinstance(body, dict) and "error" in body else "504 from the server")
    raise _api_error(response, body if isinstance(body, dict) else {})


def transport_error(error: httpx.TransportError, url: str) -> AdaKronError:
    """What it is raised as."""
    late = isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout | httpx.PoolTimeout)
    kind = TimedOut if late else Unreachable
    raised = kind(f"no answer from {url}: {str(error) or type(error).__name__}")
    raised.__cause__ = error
    return raised


def _api_error(response: httpx.Response, body: Mapping[str, Any]) -> ApiError:
    status = response.status_code
    message = str(
        body.get("error") or f"{response.reason_phrase or 'an answer'}, and no JSON: is it an AdaKron server?"
    )
    retry_after_s = _retry_after_s(response.headers.get("Retry-After"))
    return error_class(status)(message, status, str(body.get("error_type", "")), body.get("reason"), retry_after_s)


def _retry_after_s(value: str | None) -> float | None:
    """Seconds: the header has seconds or a date; None where it cannot be read."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def _body(
    inputs: Input | Sequence[Input],
    top_k: int | None,
    raw_scores: bool,
    truncation: Truncation | None,
    scores_as: ScoresAs,
) -> dict[str, Any]:
    body = {
        "inputs": _json_inputs(inputs),
        "raw_scores": raw_scores,
        "top_k": top_k,
        "truncation": truncation,
        "scores_as": None if scores_as == "object" else scores_as,
    }
    return {name: value for name, value in body.items() if value is not None}


def _json_inputs(inputs: Input | Sequence[Input]) -> Any:
    if isinstance(inputs, tuple) and len(inputs) == 2 and all(isinstance(text, str) for text in inputs):
        return {"text": inputs[0], "text_pair": inputs[1]}  # a flat list would be two texts
    return inputs if isinstance(inputs, str) else list(inputs)


def _segment(reference: str) -> str:
    """Of a path: whatever stands in it, it leads to no other route."""
    if not reference or reference in (".", ".."):
        raise ValueError(f"{reference!r} is not a task")
    return quote(reference, safe="@")
