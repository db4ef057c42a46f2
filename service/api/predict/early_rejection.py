"""Early rejection: answers a prediction that would get no permit from its head alone.

Under overload every rejection takes time from the answers. If predictions require no key, `service.server.connection`
calls `reject_early` before it creates a task for the request. A request that passes still has to get a permit, so
unusual spellings of the path need no treatment here.
"""

import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from functools import lru_cache

from pydantic_core import to_json

from service.api.http.auth import task_of
from service.api.http.cors import cors_headers
from service.api.http.deadline import read_timeout_s
from service.api.http.errors import STATUS, retry_after
from service.api.http.headers import NOT_STORED, RawHeaders, find_request_id, header_lines
from service.api.predict.context import observe_outcome
from service.api.predict.one_task import PREDICT
from service.api.state import ServerState
from service.errors import Overloaded, ServiceError
from service.observability.request_context import RequestContext

_PREFIX, _SUFFIX = PREDICT.path.encode("ascii").split(b"{task}")
_NOT_STORED = header_lines(NOT_STORED)
_STATUS, _ERROR_TYPE = STATUS[Overloaded]


@dataclass(frozen=True, slots=True)
class Rejection:
    """A request that gets no permit."""

    error: Overloaded
    request_id: str
    cors: RawHeaders

    def to_bytes(self) -> bytes:
        """Return the end of the answer's head, from Retry-After on, and its body, as the route would send them."""
        before, after = _rejection_around_id(str(self.error), retry_after(self.error), self.error.reason, self.cors)
        return before + self.request_id.encode("ascii") + after


def reject_early(
    target: bytes, headers: Sequence[tuple[bytes, bytes]], client: Callable[[], str | None], state: ServerState
) -> Rejection | None:
    """Return the rejection of a POST to `target`, counted and logged; None if the application shall answer.

    `headers` are raw ASGI headers; `client` returns the client's address.
    """
    if root := state.settings.root_path:
        target = target.removeprefix(root.encode("ascii"))
    if not (target.startswith(_PREFIX) and target.endswith(_SUFFIX) and target.isascii()):
        return None
    reference = target[len(_PREFIX) : -len(_SUFFIX)].decode("ascii")
    if state.settings.require_key or not reference or "%" in reference or "/" in reference or "?" in reference:
        return None
    task, arrived = task_of(reference), time.monotonic()
    try:
        state.dispatcher.check(task, arrived + read_timeout_s(headers, state.settings))
    except Overloaded as error:
        rejection = Rejection(error, find_request_id(headers), cors_headers(state.settings.cors_origins, headers))
        _record(rejection, task, arrived, headers, client, state)
        return rejection
    except ServiceError:
        return None  # the application answers it
    return None


def _record(
    rejection: Rejection,
    task: str,
    arrived: float,
    headers: Sequence[tuple[bytes, bytes]],
    client: Callable[[], str | None],
    state: ServerState,
) -> None:
    """Count the rejection, log it and trace it."""
    state.metrics.rejected.labels(rejection.error.reason).inc()
    duration_s = time.monotonic() - arrived
    if state.access_log.keeps(duration_s):
        record = RequestContext(
            rejection.request_id, "POST", client(), arrived, PREDICT.path, status=_STATUS, error_type=_ERROR_TYPE
        )
        record.add_task(task)
        log_answer(record, headers, state)
        observe_outcome(record, _STATUS, state)
        return
    state.metrics.observe_error(_ERROR_TYPE)
    known, exemplar = task if task in state.follower.snapshot.tasks else None, ("request_id", rejection.request_id)
    state.metrics.observe_request(known, _STATUS, duration_s, exemplar)


def end_of_answer(body: bytes, request_id: str, cors: RawHeaders) -> bytes:
    """Return the last header fields of an answer in JSON, and `body`."""
    before, after = _around_id(body, cors)
    return before + request_id.encode("ascii") + after


def _around_id(body: bytes, cors: RawHeaders) -> tuple[bytes, bytes]:
    before = f"content-length: {len(body)}\r\ncontent-type: application/json\r\nx-request-id: ".encode("ascii")
    return before, b"\r\n%b%b\r\n%b" % (_NOT_STORED, header_lines(cors), body)


@lru_cache(maxsize=1024)  # messages differ in times and numbers only
def _rejection_around_id(message: str, retry_after_s: str, reason: str, cors: RawHeaders) -> tuple[bytes, bytes]:
    """Return the parts of a rejection, from Retry-After on, before and after the request's id."""
    before, after = _around_id(to_json({"error": message, "error_type": _ERROR_TYPE, "reason": reason}), cors)
    return b"retry-after: %b\r\n%b" % (retry_after_s.encode("ascii"), before), after


def log_answer(record: RequestContext, headers: Sequence[tuple[bytes, bytes]], state: ServerState) -> None:
    """Log and count an answer that the connection gives without the application."""

    def write() -> None:
        state.access_log.begin(record, "", headers)
        state.access_log.end(record, "")

    copy_context().run(write)  # so that `record` does not stay the current one
