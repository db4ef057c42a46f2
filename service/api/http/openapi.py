"""Parts of the OpenAPI document that routes share: parameters, examples and errors.

Path parameters are described but not checked: a name that does not fit the pattern is not found.
"""

from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from adapters.config import TrainedTruncation
from service.api.http.deadline import MAX_TIMEOUT_DIGITS, TIMEOUT_HEADER
from service.core import TASK_NAME, find_name_fault
from service.settings import Settings

Responses = dict[int | str, dict[str, Any]]  # by status

_TASK = TASK_NAME.pattern
_ALIAS = "([a-z]|[0-9]+[a-z-])[a-z0-9-]{0,62}"  # the form of a task's name, but not a number


def _check_task_name(name: str) -> str:
    if fault := find_name_fault("task", name):
        raise PydanticCustomError("task_name", "{fault}", {"fault": fault})
    return name


TaskName = Annotated[str, AfterValidator(_check_task_name), Field(json_schema_extra={"pattern": f"^{_TASK}$"})]
Task = Annotated[str, Path(description="Name of the task", json_schema_extra={"pattern": f"^{_TASK}$"})]
Reference = Annotated[
    str,
    Path(
        description="Name of the task; `sst2@7` pins a version, `sst2@canary` an alias",
        json_schema_extra={"pattern": f"^{_TASK}(@{_TASK})?$"},
    ),
]
Alias = Annotated[
    str,
    Path(
        description="Clients that name only the task get `live`",
        json_schema_extra={"pattern": f"^{_ALIAS}$", "maxLength": 63},
    ),
]
Version = Annotated[int, Path(description="Number of the version", json_schema_extra={"minimum": 1})]
ModelVersion = Annotated[
    str, Path(description="Number of the version", json_schema_extra={"pattern": "^[1-9][0-9]{0,8}$"})
]
KeyId = Annotated[str, Path(description="The id in the list of keys", json_schema_extra={"pattern": "^[0-9a-f]{12}$"})]
AllowIncompatible = Annotated[
    bool,
    Query(
        description="Make the version live even if its type, pairs, missing labels or context break clients of the "
        "live one."
    ),
]
Temperature = Annotated[float, Field(description="Logits are divided by it before softmax or sigmoid.")]
ContextField = Annotated[
    str | None,
    Field(description="The field of a request's `context` that chooses a gate; null for a task without gates."),
]
TaskTruncation = Annotated[
    TrainedTruncation, Field(description="Where an over-long text is cut, unless the request overrides it.")
]


class ErrorBody(BaseModel):
    """The shape of every error."""

    error: str
    error_type: str
    reason: Annotated[str, Field(description="A stable code, for refused uploads and keys.")] | None = None


def timeout_parameter(settings: Settings) -> dict[str, Any]:
    """Describe the header X-Request-Timeout-Ms."""
    return {
        "name": TIMEOUT_HEADER,
        "in": "header",
        "required": False,
        "description": (
            "Milliseconds from the request's arrival in which to answer; 504 after that. "
            f"Default: {settings.request_timeout_s * 1000:g}. Larger values than "
            f"{settings.max_request_timeout_s * 1000:g} count as that."
        ),
        "schema": {"type": "integer", "minimum": 1, "maximum": 10**MAX_TIMEOUT_DIGITS - 1},
    }


def shown(value: Any, text: str = "Successful Response") -> dict[str, Any]:
    """Describe a response by one example."""
    return {"description": text, "content": {"application/json": {"example": value}}}


def failing(text: str, error: str, error_type: str, **more: Any) -> dict[str, Any]:
    """Describe an error by one example."""
    return {"model": ErrorBody} | shown({"error": error, "error_type": error_type, **more}, text)


UNKNOWN_TASK = failing("Unknown task or version", "no task 'sst'; did you mean sst2?", "unknown_task")
KEY_ERRORS: Responses = {
    401: failing(
        "No key, or an unknown or revoked one",
        "this server does not know this key",
        "unauthorised",
        reason="key_unknown",
    ),
    403: failing(
        "The key does not allow this", "key 3f9a1c22d0b4 lacks the scope admin", "forbidden", reason="key_scope"
    ),
}
BODY_ERRORS: Responses = {
    400: failing(
        "Malformed JSON", "the body cannot be read as JSON: expected value at line 1 column 12", "malformed_json"
    ),
    408: failing("The body came too slowly", "the body did not arrive within 60 s", "body_timeout"),
    413: failing("The body is too large", "the body is too large (ADAKRON_MAX_BODY_BYTES)", "content_too_large"),
    422: failing("An invalid value", "version: Input should be greater than or equal to 1", "validation"),
}
