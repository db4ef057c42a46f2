"""Responses that the connection writes without the application: early rejections, and errors of a request's head."""

from collections.abc import Sequence
from functools import lru_cache

from pydantic_core import to_json
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.api.http.cors import cors_headers
from service.api.http.errors import STATUS
from service.api.http.headers import find_request_id, header_lines
from service.api.predict.early_rejection import Rejection, end_of_answer, log_answer
from service.api.state import ServerState
from service.errors import ServiceError
from service.observability.request_context import RequestContext

RawHeaders = Sequence[tuple[bytes, bytes]]


def rejection_response(rejection: Rejection, defaults: RawHeaders, closes: bool) -> bytes:
    """Return the 429 response to a rejected prediction; `closes` says whether the connection ends after it."""
    return _start(429, tuple(defaults), closes) + rejection.to_bytes()


def error_response(
    error: ServiceError, method: str, headers: RawHeaders, client: str | None, defaults: RawHeaders, state: ServerState
) -> bytes:
    """Count and log `error`, and return the response to it, after which the connection ends.

    `method` and `headers` are those read of the request so far, `defaults` the first header fields of every response.
    """
    status, error_type = STATUS[type(error)]
    context = RequestContext(find_request_id(headers), method, client, status=status, error_type=error_type)
    log_answer(context, headers, state)
    body = to_json({"error": str(error), "error_type": error_type})
    end = end_of_answer(body, context.request_id, cors_headers(state.settings.cors_origins, headers))
    if method == "HEAD":
        end = end.removesuffix(body)
    return _start(status, tuple(defaults), True) + end


@lru_cache(maxsize=16)  # `defaults` has the date: there is a new one each second
def _start(status: int, defaults: tuple[tuple[bytes, bytes], ...], closes: bool) -> bytes:
    return b"%b%b%b" % (STATUS_LINE[status], header_lines(defaults), b"connection: close\r\n" if closes else b"")
