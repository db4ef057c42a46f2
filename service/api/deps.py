"""What every route may ask for: the server's state, and proof that the caller may do this."""

import secrets
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from adapters.config import BackboneIdentity
from service.errors import Unauthorised
from service.metrics import Metrics
from service.registry import Follower, Registry
from service.scheduler import Scheduler
from service.settings import Settings
from service.slots import Slots
from service.tokenizer import Tokenizer
from service.uploads import Uploads


@dataclass(frozen=True)
class ServerState:
    """Everything that lives as long as the server; built in the lifespan (app.py)."""

    settings: Settings
    backbone: BackboneIdentity
    device: str
    admin_key: str
    metrics: Metrics
    registry: Registry
    follower: Follower
    slots: Slots
    tokenizer: Tokenizer
    scheduler: Scheduler
    uploads: Uploads


async def _state(request: Request) -> ServerState:
    state: ServerState = request.state.server
    return state


State = Annotated[ServerState, Depends(_state)]

_bearer = HTTPBearer(auto_error=False, description="The admin key (ADAKRON_ADMIN_KEY, or data/admin.key)")


async def require_admin(
    state: State, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> str:
    """The actor's name for the audit. Raises Unauthorised without the right bearer key."""
    if credentials is None:
        raise Unauthorised("this needs the admin key: Authorization: Bearer KEY")
    if not secrets.compare_digest(credentials.credentials.encode(), state.admin_key.encode()):
        raise Unauthorised("this is not the admin key")
    return "admin"


Admin = Annotated[str, Depends(require_admin)]
