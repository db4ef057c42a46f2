"""Gate: refuses predictions that would get no permit, by their heads alone.

Many times the capacity may come, and each refusal takes from the same cores as the answers: where predictions need no
key, `service/connection` asks here before it makes anything of a request. Whatever is let through still has to get a
permit, so odd spellings of the path need not be understood.
"""

import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass

from pydantic_core import to_json

from service.api.deps import ServerState
from service.api.http.cors import cors_headers
from service.api.http.errors import STATUS, retry_after, status_of
from service.api.http.headers import NOT_STORED, RawHeaders, header_lines
from service.api.http.request_id import request_id
from service.api.http.time_limit import time_limit_s
from service.errors import Overloaded, ServiceError
from service.observability.request_context import RequestContext

PREDICT_ROUTE = "/v1/{task}/predict"
_PREFIX, _SUFFIX = PREDICT_ROUTE.encode("ascii").split(b"{task}")
_NOT_STORED = header_lines(NOT_STORED)


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that gets no permit."""

    error: Overloaded
    request_id: str
    cors: RawHeaders


def refusal(
    target: bytes, headers: Sequence[tuple[bytes, bytes]], client: Callable[[], str | None], state: ServerState
) -> Refused | None:
    """Why a POST to `target` with these raw headers gets no permit; None where it goes its way.

    It is counted and logged. `client` gives the address that it came from.
    """
    if root := state.settings.root_path:
        target = target.removeprefix(root.encode("ascii"))
    if not (target.startswith(_PREFIX) and target.endswith(_SUFFIX) and target.isascii()):
        return None
    reference = target[len(_PREFIX) : -len(_SUFFIX)].decode("ascii")
    if state.settings.require_key or not reference or "%" in reference or "/" in reference or "?" in reference:
        return None
    task, arrived = reference.partition("@")[0], time.monotonic()
    try:
        state.admission.check(task, arrived + time_limit_s(headers, state.settings))
    except Overloaded as error:
        known = task if task in state.follower.snapshot.tasks else None
        record = RequestContext(request_id(headers), "POST", client(), arrived, PREDICT_ROUTE, status=status_of(error))
        record.error_type = STATUS[Overloaded][1]
        record.add_task(task)
        write_down(record, headers, state)
        state.metrics.observe_rejection(known, error.reason, time.monotonic() - arrived, record.exemplar)
        return Refused(error, record.request_id, cors_headers(state.settings.cors_origins, headers))
    except ServiceError:
        return None  # the route says it
    return None


def refusal_bytes(refused: Refused) -> bytes:
    """The end of the answer's head, from Retry-After on, and its body: as `failure_of(error).answer()` is sent."""
    body = to_json({"error": str(refused.error), "error_type": STATUS[Overloaded][1], "reason": refused.error.reason})
    again = b"retry-after: %b\r\n" % retry_after(refused.error).encode("ascii")
    return again + end_of_answer(body, refused.request_id, refused.cors)


def end_of_answer(body: bytes, request_id: str, cors: RawHeaders) -> bytes:
    """The last header fields of an answer in JSON, and `body`."""
    fields = f"content-length: {len(body)}\r\ncontent-type: application/json\r\nx-request-id: {request_id}\r\n"
    return b"%b%b%b\r\n%b" % (fields.encode("ascii"), _NOT_STORED, header_lines(cors), body)


def write_down(record: RequestContext, headers: Sequence[tuple[bytes, bytes]], state: ServerState) -> None:
    """Log and count an answer that no application gives."""

    def write() -> None:
        state.access_log.begin(record, "", headers)
        state.access_log.end(record, "")

    copy_context().run(write)  # so that `record` is not the current one afterwards
