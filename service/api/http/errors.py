"""From exceptions to HTTP: the table of status codes and the shape of an error body."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from service import errors
from service.api.http.routing import error_shape_of, methods_of
from service.observability.request_context import current_context

logger = logging.getLogger(__name__)

INTERNAL = "internal"
STATUS: dict[type[errors.ServiceError], tuple[int, str]] = {
    errors.InvalidInput: (422, "validation"),
    errors.UnknownTask: (404, "unknown_task"),
    errors.UnknownVersion: (404, "unknown_version"),
    errors.UnknownKey: (404, "unknown_key"),
    errors.MalformedJson: (400, "malformed_json"),
    errors.BodyTooLarge: (413, "content_too_large"),
    errors.BodyTimeout: (408, "body_timeout"),
    errors.BodyCut: (400, "body_cut"),
    errors.ClientLeft: (499, "client_left"),
    errors.DeadlineExceeded: (504, "timeout"),
    errors.UnsupportedMediaType: (415, "unsupported_media_type"),
    errors.UploadRefused: (422, "upload_refused"),
    errors.CheckerUnavailable: (503, "checker_unavailable"),
    errors.Unauthorised: (401, "unauthorised"),
    errors.Forbidden: (403, "forbidden"),
    errors.AliasConflict: (409, "alias_conflict"),
    errors.Incompatible: (409, "incompatible"),
    errors.PreconditionFailed: (412, "precondition_failed"),
    errors.Overloaded: (429, "overloaded"),
    errors.AdapterUnavailable: (503, "adapter_unavailable"),
    errors.RegistryUnavailable: (503, "registry_unavailable"),
    errors.StorageFull: (507, "storage_full"),
    errors.ShuttingDown: (503, "shutting_down"),
    errors.EngineDied: (503, "engine_died"),
    errors.EngineHangs: (503, "engine_hangs"),
    errors.InferenceFailed: (500, "inference_failed"),
    errors.InternalError: (500, INTERNAL),
    errors.MalformedHttp: (400, "malformed_http"),
    errors.HeadTimeout: (408, "head_timeout"),
    errors.TargetTooLong: (414, "target_too_long"),
    errors.HeadTooLarge: (431, "head_too_large"),
    errors.NotImplementedHere: (501, "not_implemented"),
}
_HTTP_ERROR_TYPES = {
    404: "not_found",
    405: "method_not_allowed",
}
ORIGIN_REFUSED = "origin_refused"  # 403 by CORS
HTTP_ERROR = "http_error"  # any other status
ERROR_TYPES = {
    *(error_type for _, error_type in STATUS.values()),
    *_HTTP_ERROR_TYPES.values(),
    HTTP_ERROR,
    ORIGIN_REFUSED,
}
BODY_HELP = "the body must be a JSON object with Content-Type: application/json"
INPUTS_HELP = (
    'inputs must be a text, a list of texts, a list of pairs [["a", "b"], ...], '
    'or {"text": ..., "text_pair": ...} objects, in valid Unicode'
)


def install_handlers(app: FastAPI) -> None:
    """Answer every error of `app` as {"error", "error_type"}."""
    app.add_exception_handler(errors.ServiceError, _answer_failure)
    app.add_exception_handler(RequestValidationError, _answer_failure)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(Exception, _answer_bug)


@dataclass(frozen=True)
class Failure:
    """An error as clients see it, before a protocol gives it a shape."""

    status: int
    message: str
    error_type: str
    headers: dict[str, str] = field(default_factory=dict)
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)  # further fields of some errors

    def body(self) -> dict[str, Any]:
        """Return the fields of `ErrorBody`, the shape of this server's own API."""
        more = {"reason": self.reason} if self.reason else {}
        return {"error": self.message, "error_type": self.error_type, **more, **self.details}

    def build_response(self, shape: "Shape | None" = None) -> JSONResponse:
        """Note the error in the request's log entry and return its response, as `shape` or `body` writes it."""
        current_context().error_type = self.error_type
        return JSONResponse(self.body() if shape is None else shape(self), self.status, self.headers)


Shape = Callable[[Failure], Any]  # writes an error as a protocol defines it, ready for JSON


def failure_of(error: errors.ServiceError | RequestValidationError) -> Failure:
    """Convert `error`; log it if it is the server's fault."""
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        return Failure(422, validation_message(first["loc"], first), "validation")
    status, error_type = STATUS[type(error)]
    headers = {}
    if isinstance(error, errors.Overloaded):
        headers["Retry-After"] = retry_after(error)
    elif isinstance(error, errors.Unauthorised):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.InferenceFailed):
        logger.error("%s: %s", error_type, error, exc_info=error)
    elif status >= 500 and not isinstance(error, errors.DeadlineExceeded):
        logger.error("%s: %s", error_type, error)
    details = getattr(error, "details", {})
    return Failure(status, str(error), error_type, headers, getattr(error, "reason", None), details)


def internal_failure() -> Failure:
    """Return the failure for a bug; the log has its traceback, the client sees none of it."""
    return Failure(500, str(errors.InternalError()), INTERNAL)


def retry_after(error: errors.Overloaded) -> str:
    """Return the value of the header Retry-After, in seconds."""
    return f"{error.retry_after_s:.0f}"


def validation_message(place: Sequence[int | str], first: Mapping[str, Any], inputs_help: str | None = None) -> str:
    """Describe the first fault that pydantic has found at `place`: "body", "path", ..., then field names.

    `inputs_help` says what the field `inputs` must be.
    """
    if len(place) == 1 and place[0] == "body":
        return BODY_HELP
    if inputs_help and tuple(place[:2]) == ("body", "inputs") and first["type"] != "too_long":
        return "inputs is missing" if first["type"] == "missing" and len(place) == 2 else inputs_help
    fields = ".".join(str(part)[:64] for part in place[1:])
    return f"{fields or place[0]}: {first['msg']}"


async def _answer_failure(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.ServiceError | RequestValidationError)
    return failure_of(error).build_response()


async def _answer_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    method = current_context().method or request.method  # HeadAsGet has changed the request's
    message = str(error.detail)
    if error.status_code == 404 and message == "Not Found":
        message = f"no route {method} {request.scope['path']} (GET /docs lists them)"
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(methods_of(request.app.routes, request.scope))
        message = f"this path takes {headers['Allow']}, not {method}"
    error_type = _HTTP_ERROR_TYPES.get(error.status_code, HTTP_ERROR)
    shape = error_shape_of(request.app.routes, request.scope)
    return Failure(error.status_code, message, error_type, headers).build_response(shape)


async def _answer_bug(request: Request, error: Exception) -> JSONResponse:
    return internal_failure().build_response()
