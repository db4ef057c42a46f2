"""ServerState: the objects of an HTTP process, for every route."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from adapters.config import BackboneIdentity
from service.core import ApiKey
from service.dispatch.dispatcher import Dispatcher
from service.inference.predictor import Predictor
from service.observability.access_log import AccessLog
from service.observability.metrics import Metrics
from service.publishing.uploads import Uploads
from service.registry import Follower, Registry
from service.settings import Settings


@dataclass(frozen=True)
class ServerState:
    """Everything that lives as long as the process; built in the lifespan (app.py)."""

    settings: Settings
    backbone: BackboneIdentity
    dispatcher: Dispatcher
    draining: asyncio.Event  # set from SIGTERM on: not ready, and each answer ends its connection
    root_key: ApiKey
    metrics: Metrics
    access_log: AccessLog
    registry: Registry
    follower: Follower
    predictor: Predictor
    uploads: Uploads


async def _state(request: Request) -> ServerState:
    state: ServerState = request.state.server
    return state


State = Annotated[ServerState, Depends(_state)]
