"""From exception to HTTP: the one table of status codes, and the one shape of an error body."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from service import errors
from service.api.http.methods import error_shape_of, methods_of
from service.observability.request_context import current_context

logger = logging.getLogger(__name__)

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
    errors.InferenceFailed: (500, "inference_failed"),
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
ORIGIN_REFUSED = "origin_refused"  # 403, of CORS
INTERNAL = "internal"
HTTP_ERROR = "http_error"  # of another status than these
ERROR_TYPES = {
    *(error_type for _, error_type in STATUS.values()),
    *_HTTP_ERROR_TYPES.values(),
    HTTP_ERROR,
    ORIGIN_REFUSED,
    INTERNAL,
}
BODY_HELP = "the body must be a JSON object with Content-Type: application/json"
INPUTS_HELP = (
    'inputs must be a text, a list of texts, a list of pairs [["a", "b"], ...], '
    'or {"text": ..., "text_pair": ...} objects, in valid Unicode'
)


def status_of(error: BaseException) -> int:
    """The HTTP status that `error` will be answered with."""
    if isinstance(error, errors.ServiceError):
        return STATUS[type(error)][0]
    if isinstance(error, RequestValidationError):
        return 422
    return error.status_code if isinstance(error, HTTPException) else 500


def install(app: FastAPI) -> None:
    """Answer every error of `app` as {"error", "error_type"}."""
    app.add_exception_handler(errors.ServiceError, _service_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)


@dataclass(frozen=True)
class Failure:
    """What a client is told of an error, in whatever shape its protocol has for it."""

    status: int
    message: str
    error_type: str
    headers: dict[str, str] = field(default_factory=dict)
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)  # more fields, of some errors

    def body(self) -> dict[str, Any]:
        """`ErrorBody`, the shape of all but the protocols of others."""
        more = {"reason": self.reason} if self.reason else {}
        return {"error": self.message, "error_type": self.error_type, **more, **self.details}

    def answer(self, shape: Callable[["Failure"], Any] | None = None) -> JSONResponse:
        """In that shape, or as `shape` writes it."""
        current_context().error_type = self.error_type
        return JSONResponse(self.body() if shape is None else shape(self), self.status, self.headers)


async def _service_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.ServiceError)
    return failure_of(error).answer()


def failure_of(error: errors.ServiceError | RequestValidationError, inputs_help: str | None = INPUTS_HELP) -> Failure:
    """What the client is told of `error`, which is logged where it is a server's, in no shape yet; `inputs_help` says
    what the field `inputs` must be."""
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        return Failure(422, validation_message(first["loc"], first, inputs_help), "validation")
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


def retry_after(error: errors.Overloaded) -> str:
    """The value of the header Retry-After, in seconds."""
    return f"{error.retry_after_s:.0f}"


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return failure_of(error).answer()


def validation_message(place: Sequence[int | str], first: Mapping[str, Any], inputs_help: str | None) -> str:
    """What the client is told of the first fault that pydantic found, at `place`: "body", "path", ..., then fields."""
    if len(place) == 1 and place[0] == "body":
        return BODY_HELP
    if inputs_help and tuple(place[:2]) == ("body", "inputs") and first["type"] != "too_long":
        return "inputs is missing" if first["type"] == "missing" and len(place) == 2 else inputs_help
    fields = ".".join(str(part)[:64] for part in place[1:])
    return f"{fields or place[0]}: {first['msg']}"


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    message = str(error.detail)
    if error.status_code == 404 and message == "Not Found":
        message = f"no route {_method(request)} {request.scope['path']} (GET /docs lists them)"
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(methods_of(request.app.routes, request.scope))
        message = f"this path takes {headers['Allow']}, not {_method(request)}"
    error_type = _HTTP_ERROR_TYPES.get(error.status_code, HTTP_ERROR)
    shape = error_shape_of(request.app.routes, request.scope)
    return Failure(error.status_code, message, error_type, headers).answer(shape)


def _method(request: Request) -> str:
    """As the client has sent it: a HEAD is answered as a GET."""
    return current_context().method or request.method


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    return internal_error()


def internal_error() -> JSONResponse:
    """`internal_failure`, in the shape of all but the protocols of others."""
    return internal_failure().answer()


def internal_failure() -> Failure:
    """What the client is told of a bug."""
    return Failure(500, "internal error; the server's log has the details", INTERNAL)
