"""What stands before a handler: the caller's key, then the limits on the body. Per route, never by path.

FastAPI reads and parses a body before it looks at dependencies; here nobody without a key gets that far.
"""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from service.api.deps import ServerState
from service.api.http.body import BodyLimits, JsonRequest, read_body, with_body
from service.api.http.json_body import check_coding, check_head, read_json
from service.api.near import near_names
from service.auth.permissions import authenticate, authorise
from service.core import ApiKey, Scope
from service.observability.request_context import current_context
from service.settings import Settings

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
_DOCUMENTED = Depends(HTTPBearer(auto_error=False, description="A key: the first one, or of POST /admin/v1/keys"))


def guarded_route(scope: Scope | None, limits: BodyLimits | None) -> type[APIRoute]:
    """A route class that needs a key with `scope` (None: no key) and reads the body within `limits` (None: not yet)."""

    class GuardedRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            handle, takes_json = super().get_route_handler(), self.body_field is not None

            async def guarded(request: Request) -> Response:
                caller = request.state.caller = None if scope is None else caller_of(request, scope)
                with near_names(request.state.server, caller):
                    if limits is None:
                        return await handle(request)
                    (check_head if takes_json else check_coding)(request.scope["headers"])
                    body = await read_body(request, limits)
                    if not takes_json:
                        return await handle(with_body(request, body))
                    return await handle(JsonRequest(request, body, read_json(body, limits.max_inputs)))

            return guarded

    return GuardedRoute


def predict_scope(settings: Settings) -> Scope | None:
    """What predictions and the list of tasks need."""
    return "predict" if settings.require_key else None


def documented(settings: Settings) -> list[Any]:
    """The dependencies by which /docs shows that predictions need a key, where they do."""
    return [_DOCUMENTED] if settings.require_key else []


def guarded_router(scope: Scope, limits: BodyLimits | None, **options: Any) -> APIRouter:
    """A router whose routes all need a key with `scope`."""
    return APIRouter(route_class=guarded_route(scope, limits), dependencies=[_DOCUMENTED], **options)


def caller_of(request: Request, scope: Scope) -> ApiKey:
    """The key that the request carries. Raises Unauthorised, and Forbidden where it is not good for this."""
    state: ServerState = request.state.server
    key = authenticate(request.headers.get("authorization"), state.root_key, state.follower.snapshot.keys)
    current_context().key_id = key.id
    task = request.path_params.get("task")
    authorise(key, scope, task and task_of(task))
    return key


def task_of(reference: str) -> str:
    """The task's name in `sst2@7`."""
    return reference.partition("@")[0]


async def _stored_caller(request: Request) -> ApiKey | None:
    caller: ApiKey | None = request.state.caller
    return caller


Caller = Annotated[ApiKey, Depends(_stored_caller)]
AnyCaller = Annotated[ApiKey | None, Depends(_stored_caller)]  # None where no key is needed


def client_address(request: Request) -> str:
    """Where the request came from, for the audit."""
    return request.client.host if request.client else ""
