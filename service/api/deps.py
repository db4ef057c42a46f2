"""What every route may ask for: the server's state."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from adapters.config import BackboneIdentity
from service.admission import Admission
from service.api.label_counts import LabelCounts
from service.core import ApiKey
from service.device import Device
from service.device_process import DeviceProcess
from service.drain import Drain
from service.inference.tokenizer import Tokenizer
from service.journal import Journal
from service.metrics import Metrics
from service.registry import Follower, Registry
from service.scheduler import Scheduler
from service.settings import Settings
from service.slots import Slots
from service.uploads import Uploads


@dataclass(frozen=True)
class ServerState:
    """Everything that lives as long as the server; built in the lifespan (app.py)."""

    settings: Settings
    backbone: BackboneIdentity
    device: Device | DeviceProcess
    drain: Drain
    root_key: ApiKey
    metrics: Metrics
    label_counts: LabelCounts
    journal: Journal
    registry: Registry
    follower: Follower
    slots: Slots
    tokenizer: Tokenizer
    admission: Admission
    scheduler: Scheduler[Any]
    uploads: Uploads


async def _state(request: Request) -> ServerState:
    state: ServerState = request.state.server
    return state


State = Annotated[ServerState, Depends(_state)]
