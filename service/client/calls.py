"""Calls of the API as values, and the way from an answer to a result or an error. This module sends nothing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote

import httpx

from .errors import AdaKronError, ApiError, InvalidArgument, TimedOut, api_error
from .results import (
    Predictions,
    PredictionsByTask,
    Task,
    parse,
    parse_list,
    parse_predictions,
    parse_predictions_by_task,
)

T = TypeVar("T")
Input = str | tuple[str, str]  # a text, or a pair
Truncation = Literal["right", "left", "head-tail", "error"]
ScoresAs = Literal["object", "list"]
DEFAULT_TIMEOUT_S = 30.0


class PredictOptions(TypedDict, total=False):
    """Options of a prediction, as in the body of POST /v1/{task}/predict."""

    top_k: int  # only the k best labels in `scores`, best first
    raw_scores: bool  # logits instead of probabilities
    truncation: Truncation  # where an over-long text is cut; by default as the task was trained
    scores_as: ScoresAs  # "list": `scores` are best first
    context: Mapping[str, str]  # for a task with gates: its key by the name of its field, {"user": "u17"}


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call of the API."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]  # raises LookupError, TypeError or ValueError for the answer of another server
    options: Mapping[str, Any]  # of httpx: json, params, content, headers
    repeatable: bool  # it changes nothing, so a client may send it again

    def request(self, left_s: float) -> dict[str, Any]:
        """Return the arguments of httpx's `request`; the server gives up when the client does, after `left_s`."""
        headers = {"X-Request-Timeout-Ms": str(max(1, int(left_s * 1000))), **self.options.get("headers", {})}
        return {"method": self.method, "url": self.path, "timeout": left_s, **self.options, "headers": headers}


def json_call(
    method: str, path: str, parse: Callable[[Any], T], *, repeatable: bool | None = None, **options: Any
) -> Call[T]:
    """Make a call whose answer is JSON; by default only GET is repeatable."""
    again = method == "GET" if repeatable is None else repeatable
    return Call(method, path, lambda response: parse(response.json()), options, again)


def predict_call(task: str, inputs: Input | Sequence[Input], **options: Any) -> Call[Predictions]:
    """POST /v1/{task}/predict."""
    path = f"/v1/{path_segment(task)}/predict"
    return json_call("POST", path, parse_predictions, json=_body(inputs, **options), repeatable=True)


def predict_many_call(inputs: Input | Sequence[Input], tasks: Sequence[str], **options: Any) -> Call[PredictionsByTask]:
    """POST /v1/predict."""
    body = _body(inputs, tasks=list(tasks), **options)
    return json_call("POST", "/v1/predict", parse_predictions_by_task, json=body, repeatable=True)


def tasks_call() -> Call[tuple[Task, ...]]:
    """GET /v1/tasks."""
    return json_call("GET", "/v1/tasks", parse_list("tasks", partial(parse, Task)))


def task_call(task: str) -> Call[Task]:
    """GET /v1/tasks/{task}."""
    return json_call("GET", f"/v1/tasks/{path_segment(task)}", partial(parse, Task))


def path_segment(name: str) -> str:
    """Quote `name` so that it stays one segment of a path. Raises InvalidArgument for an empty one, `.` and `..`."""
    if not name or name in (".", ".."):
        raise InvalidArgument(f"{name!r} is not a name")
    return quote(name, safe="@")


def read_response(call: Call[T], response: httpx.Response) -> T:
    """Return the result of `call`. Raises ApiError, and TimedOut if the server ran out of time."""
    try:
        if not response.is_success:
            raise _error(response)
        try:
            return call.read(response)
        except (LookupError, TypeError, ValueError) as error:
            message = f"the answer is not that of an AdaKron server ({error!r}): check the URL"
            raise ApiError(message, response.status_code) from error
    except AdaKronError as error:
        error.request_id = response.headers.get("X-Request-Id")
        raise


def _error(response: httpx.Response) -> AdaKronError:
    try:
        body = response.json()
    except ValueError:
        body = None
    status = response.status_code
    body = body if isinstance(body, dict) else {}
    if status == 504:
        return TimedOut(str(body.get("error", "504 from the server")))
    message = f"{response.reason_phrase or 'the answer'} is not the JSON of an AdaKron server: check the URL"
    return api_error(status, body, message, _retry_after_s(response.headers.get("Retry-After")))


def _retry_after_s(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header, which holds seconds or a date; None if it is unreadable."""
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


def _body(inputs: Input | Sequence[Input], **options: Any) -> dict[str, Any]:
    """Return the JSON of a prediction; options that are None are left out. Raises InvalidArgument for other inputs."""
    given = {
        name: dict(value) if isinstance(value, Mapping) else value
        for name, value in options.items()
        if value is not None
    }
    if isinstance(inputs, tuple) and len(inputs) == 2 and all(isinstance(text, str) for text in inputs):
        return given | {"inputs": {"text": inputs[0], "text_pair": inputs[1]}}  # a flat list would be two texts
    if isinstance(inputs, bytes | Mapping) or not isinstance(inputs, Iterable):
        raise InvalidArgument(f"inputs must be a text, a pair (text, text) or a list of these, not {inputs!r:.99}")
    return given | {"inputs": inputs if isinstance(inputs, str) else list(inputs)}
