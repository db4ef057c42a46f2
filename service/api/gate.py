"""Gate: refuses predictions that would get no permit before any router, model or handler has seen them.

Many times the capacity may come, and each refusal takes from the same cores as the answers. Only where predictions
need no key: else the key is looked at first (predict.py).
"""

import time

from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.deps import ServerState
from service.api.errors import answer_to
from service.api.time_limit import time_limit_s
from service.errors import Overloaded, ServiceError

_PREFIX, _SUFFIX = "/v1/", "/predict"


class Gate:
    """ASGI middleware. What it lets through still has to get a permit."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse with 429, or hand on."""
        if scope["type"] == "http" and (error := _refusal(scope)) is not None:
            await answer_to(error)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _refusal(scope: Scope) -> Overloaded | None:
    path: str = scope["path"]
    if scope["method"] != "POST" or not path.startswith(_PREFIX) or not path.endswith(_SUFFIX):
        return None
    state: ServerState = scope["state"]["server"]
    task = path[len(_PREFIX) : -len(_SUFFIX)].partition("@")[0]
    started = time.monotonic()
    try:
        state.admission.check(task, started + time_limit_s(scope["headers"], state.settings))
    except Overloaded as error:
        known = task if task in state.follower.snapshot.tasks else None
        state.metrics.observe_refusal(known, error.bound, time.monotonic() - started)
        return error
    except ServiceError:
        return None  # the route says it
    return None
