"""Authentication before a route's handler, then limits on the body. Each route states its scope; no rule is by path.

FastAPI parses a body before it calls dependencies. These routes authenticate first: a client without a valid key
cannot make the server read its body.
"""

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from service.api.http.body import (
    BodyLimits,
    JsonRequest,
    check_content_encoding,
    check_json_headers,
    parse_json,
    read_body,
)
from service.api.state import ServerState
from service.auth.permissions import authenticate, authorise, permits
from service.core import ApiKey, Scope
from service.errors import UnknownTask
from service.observability.request_context import current_context
from service.registry import unknown_task
from service.settings import Settings

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
_DOCUMENTED = Depends(HTTPBearer(auto_error=False, description="A key: the first one, or one of POST /admin/v1/keys"))


def protected_route(scope: Scope | None, limits: BodyLimits | None) -> type[APIRoute]:
    """Return a route class that requires a key with `scope` and reads the body within `limits`.

    `scope` None requires no key; `limits` None leaves the body to the handler.
    """

    class ProtectedRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            handle, takes_json = super().get_route_handler(), self.body_field is not None

            async def authenticated(request: Request) -> Response:
                state: ServerState = request.state.server
                caller = None
                if scope is not None:
                    task = request.path_params.get("task")
                    caller = authenticate_caller(request, state, scope, task and task_of(task))
                request.state.caller = caller
                with suggesting_names(state, caller):
                    if limits is None:
                        return await handle(request)
                    (check_json_headers if takes_json else check_content_encoding)(request.scope["headers"])
                    body = await read_body(request, limits)
                    if not takes_json:
                        return await handle(request)
                    return await handle(JsonRequest(request, body, parse_json(body, limits.max_inputs)))

            return authenticated

    return ProtectedRoute


def protected_router(scope: Scope, limits: BodyLimits | None, **options: Any) -> APIRouter:
    """Return a router whose routes all require a key with `scope`."""
    return APIRouter(route_class=protected_route(scope, limits), dependencies=[_DOCUMENTED], **options)


def predict_scope(settings: Settings) -> Scope | None:
    """Return the scope that predictions and the list of tasks require; None if they require no key."""
    return "predict" if settings.require_key else None


def documented(settings: Settings) -> list[Any]:
    """Return the dependencies by which /docs shows that predictions require a key; empty if they do not."""
    return [_DOCUMENTED] if settings.require_key else []


def authenticate_caller(request: Request, state: ServerState, scope: Scope, task: str | None) -> ApiKey:
    """Return the request's key and note its id in the log entry.

    Raises Unauthorised, or Forbidden when the key lacks `scope` or is not for `task`.
    """
    key = authenticate(request.headers.get("authorization"), state.root_key, state.follower.snapshot.keys)
    current_context().key_id = key.id
    authorise(key, scope, task)
    return key


class suggesting_names:  # noqa: N801  # it is called as a function
    """Add near matches to an UnknownTask raised inside, only from tasks that `caller` may know; None knows all."""

    __slots__ = ("_caller", "_state")

    def __init__(self, state: ServerState, caller: ApiKey | None) -> None:
        self._state, self._caller = state, caller

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, UnknownTask):
            names, caller = self._state.follower.snapshot.tasks, self._caller
            known = [name for name in names if caller is None or permits(caller, name)]
            raise unknown_task(error.task, known) from None


def task_of(reference: str) -> str:
    """Return the task's name in a reference such as `sst2@7`."""
    return reference.partition("@")[0]


async def _stored_caller(request: Request) -> ApiKey | None:
    caller: ApiKey | None = request.state.caller
    return caller


Caller = Annotated[ApiKey, Depends(_stored_caller)]
OptionalCaller = Annotated[ApiKey | None, Depends(_stored_caller)]  # None if no key is required


def client_address(request: Request) -> str:
    """Return the client's address for the audit log."""
    return request.client.host if request.client else ""
