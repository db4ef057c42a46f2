"""ServerState: the objects of a server, for every route."""

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from adapters.config import BackboneIdentity
from service.adapter_cache.cache import AdapterCache
from service.core import ApiKey
from service.engine.backend import EngineBackend
from service.inference.label_counts import LabelCounts
from service.inference.predictor import Predictor
from service.observability.access_log import AccessLog
from service.observability.metrics import Metrics
from service.publishing.uploads import Uploads
from service.registry import Follower, Registry
from service.scheduling.admission import Admission
from service.settings import Settings


@dataclass(frozen=True)
class ServerState:
    """Everything that lives as long as the server; built in the lifespan (app.py)."""

    settings: Settings
    backbone: BackboneIdentity
    engine: EngineBackend
    draining: asyncio.Event  # set from SIGTERM on: not ready, and each answer ends its connection
    root_key: ApiKey
    metrics: Metrics
    label_counts: LabelCounts
    access_log: AccessLog
    registry: Registry
    follower: Follower
    adapter_cache: AdapterCache
    admission: Admission
    predictor: Predictor
    uploads: Uploads


async def _state(request: Request) -> ServerState:
    state: ServerState = request.state.server
    return state


State = Annotated[ServerState, Depends(_state)]
