"""Gate: refuses predictions that would get no permit, by their heads alone.

Many times the capacity may come, and each refusal takes from the same cores as the answers: where predictions need no
key, `service/protocol.py` asks here before it makes anything of a request. Whatever is let through still has to get a
permit, so odd spellings of the path need not be understood.
"""

import time
from collections.abc import Iterable

from pydantic_core import to_json

from service.api.deps import ServerState
from service.api.errors import STATUS, retry_after
from service.api.time_limit import time_limit_s
from service.errors import Overloaded, ServiceError

_PREFIX, _SUFFIX = b"/v1/", b"/predict"


def refusal(target: bytes, headers: Iterable[tuple[bytes, bytes]], state: ServerState) -> Overloaded | None:
    """Why a POST to `target` with these raw headers gets no permit, and it is counted; None where it goes its way."""
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
        state.metrics.observe_refusal(known, error.bound, time.monotonic() - arrived)
        return error
    except ServiceError:
        return None  # the route says it
    return None


def refusal_bytes(error: Overloaded) -> bytes:
    """The end of the answer's head, from Retry-After on, and its body: as `failure_of(error).answer()` is sent."""
    body = to_json({"error": str(error), "error_type": STATUS[Overloaded][1]})
    fields = f"retry-after: {retry_after(error)}\r\ncontent-length: {len(body)}\r\ncontent-type: application/json\r\n"
    return fields.encode("ascii") + b"\r\n" + body
