"""Answers that the connection gives by itself, without the application: to what is no request that can be read."""

from collections.abc import Sequence

from pydantic_core import to_json
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.api.deps import ServerState
from service.api.http.cors import cors_headers
from service.api.http.early_rejection import end_of_answer, write_down
from service.api.http.errors import STATUS
from service.api.http.request_id import request_id
from service.errors import ServiceError
from service.observability.request_context import RequestContext

RawHeaders = Sequence[tuple[bytes, bytes]]


def failure_answer(
    error: ServiceError, method: str, headers: RawHeaders, client: str | None, defaults: RawHeaders, state: ServerState
) -> bytes:
    """The answer to `error`, after which the connection ends; it is counted and logged.

    `method` and `headers` are what was read of the request, `defaults` the first header fields of every answer.
    """
    status, error_type = STATUS[type(error)]
    record = RequestContext(request_id(headers), method, client, status=status, error_type=error_type)
    write_down(record, headers, state)
    body = to_json({"error": str(error), "error_type": error_type})
    end = end_of_answer(body, record.request_id, cors_headers(state.settings.cors_origins, headers))
    if method == "HEAD":
        end = end.removesuffix(body)
    fields = [b"%b: %b\r\n" % field for field in defaults]
    return b"".join([STATUS_LINE[status], *fields, b"connection: close\r\n", end])
