"""ServerState: the objects of an HTTP process, for every route."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from adapters.config import BackboneIdentity
from service.core import ApiKey
from service.dispatch.dispatcher import Dispatcher
from service.errors import EngineHangs
from service.inference.predictor import Predictor
from service.observability.access_log import AccessLog
from service.observability.metrics import Metrics
from service.publishing.uploads import Uploads
from service.registry import Follower, Registry
from service.settings import Settings

HANGS_S = 5.0  # without a sign of life of the engine process, the server is not ready
LATE_S = 1.5  # after which a silent engine process is the cause of a change that does not end


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

    def find_hang(self, after_s: float = HANGS_S) -> EngineHangs | None:
        """Return an error if the engine process has given no sign of life for `after_s` seconds."""
        silent_s = self.dispatcher.silent_s
        if silent_s <= after_s:
            return None
        message = f"the engine process has given no sign of life for {silent_s:.1f} s: restart the server if it lasts"
        return EngineHangs(f"{message}; a requested change may have been made: check before you repeat it")


async def _state(request: Request) -> ServerState:
    state: ServerState = request.state.server
    return state


State = Annotated[ServerState, Depends(_state)]
