"""The composition root: everything that a server needs is built in its lifespan and passed in."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version as package_version
from typing import TYPE_CHECKING, TypedDict

import numpy as np
import torch
from fastapi import APIRouter, FastAPI
from fastapi_offline import FastAPIOffline
from starlette.types import Lifespan

from adapters.backbone import Backbone
from adapters.bank import AdapterBank
from adapters.cuda_graphs import CudaGraphs
from adapters.source import LoadedBackbone, load_backbone
from service.access import root_key
from service.admin_key import load_admin_key
from service.admission import Admission, Bounds
from service.api import admin_routers, errors, health, public_routers
from service.api.deps import ServerState
from service.api.predictions import Predictions
from service.checker import Checker
from service.core import Batch
from service.drain import Drain
from service.engine import Engine, PreparedBatch
from service.errors import ServiceError
from service.loads import Loads
from service.metrics import Metrics
from service.pace import Pace
from service.pretrained import publish_shipped
from service.registry import Follower, Registry, Snapshot
from service.scheduler import Scheduler
from service.settings import Settings
from service.slots import Slots
from service.tokenizer import Tokenizer
from service.uploads import Uploads

if TYPE_CHECKING:
    from adapters.cuda_forward import CudaForward

logger = logging.getLogger(__name__)

_DESCRIPTION = """
Many text tasks on one frozen BERT: each task is a small AdaKron adapter, and different tasks share a batch.
`GET /v1/tasks` lists the tasks, `POST /v1/{task}/predict` classifies. What begins with `/admin` needs
`Authorization: Bearer KEY`.
"""


class LifespanState(TypedDict):
    """What requests find in `request.state`."""

    server: ServerState


def create_app(settings: Settings, load: Callable[[Settings], LoadedBackbone] | None = None) -> FastAPI:
    """Everything as one ASGI application, which builds its state itself. `load` brings the backbone."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[LifespanState]:
        async with serving(settings, load or load_for) as state:
            yield {"server": state}

    return _public(settings, lifespan, [*public_routers(settings), *admin_routers(settings)])


def create_apps(state: ServerState) -> list[FastAPI]:
    """The applications of a server that is built: one, or with `admin_port` the public one and the operators'."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[LifespanState]:
        yield {"server": state}

    public, admin = public_routers(state.settings), admin_routers(state.settings)
    if state.settings.admin_port is None:
        return [_public(state.settings, lifespan, [*public, *admin])]
    return [
        _public(state.settings, lifespan, public),
        _application(state.settings, lifespan, [*admin, health.router]),
    ]


def _public(settings: Settings, lifespan: Lifespan[FastAPI], routers: Sequence[APIRouter]) -> FastAPI:
    app = _application(settings, lifespan, routers)
    app.middleware_stack = Predictions(app.build_middleware_stack(), settings)  # before all that FastAPI has there
    return app


def _application(settings: Settings, lifespan: Lifespan[FastAPI], routers: Sequence[APIRouter]) -> FastAPI:
    app: FastAPI = FastAPIOffline(
        title="AdaKron Serve",
        version=package_version("adakron-serve"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would lead to whatever the Host header says
        telemetry={"tracing": False, "metrics": False, "logs": False},  # there is metrics.py; asked for each request
    )
    for router in routers:
        app.include_router(router)
    errors.install(app)
    return app


@asynccontextmanager
async def serving(
    settings: Settings, load: Callable[[Settings], LoadedBackbone], drain: Drain | None = None
) -> AsyncIterator[ServerState]:
    """Build everything in order, and take it down in the opposite order."""
    async with AsyncExitStack() as stack:
        loaded = await asyncio.to_thread(load, settings)
        backbone, metrics = loaded.backbone, Metrics(settings.metrics_max_tasks)
        registry = await asyncio.to_thread(Registry.open, settings.resolved_registry_url)
        stack.callback(registry.close)
        if settings.pretrained:
            await asyncio.to_thread(publish_shipped, registry, loaded.identity)
        bank = AdapterBank(loaded.identity.hidden_size, backbone.device, backbone.dtype)
        checker = Checker(loaded, settings.check_timeout_s)
        stack.callback(checker.close)
        loads = Loads(bank, registry.read_adapter, loaded.identity)
        stack.callback(loads.close)
        slots = Slots(bank, loads.load, settings.adapter_memory, metrics)
        stack.push_async_callback(slots.close)
        follower = Follower(registry, settings.registry_poll_s, _on_change(loads, slots, metrics))
        await follower.start()
        stack.push_async_callback(follower.stop)
        cuda = await asyncio.to_thread(_cuda_forward, backbone, bank, settings)
        engine = Engine(backbone, bank, engine_threads(settings), cuda)
        stack.callback(engine.close)
        tokenizer = Tokenizer(loaded.encoder, settings.tokenizer_threads)
        stack.callback(tokenizer.close)
        pace = Pace(max_batch_tokens=settings.max_batch_tokens, max_batch_s=settings.max_batch_s)
        bounds = Bounds(settings.max_queued_requests, settings.max_queued_tokens, settings.max_queue_s)

        def weight(task: str) -> float:
            return follower.snapshot.weight(task)

        admission = Admission(bounds, pace, weight=weight)
        scheduler = Scheduler(_Holding(slots, engine), admission, pace, metrics, weight=weight)
        scheduler.start()
        stack.push_async_callback(scheduler.stop)
        await _warm_live(slots, follower.snapshot)
        yield ServerState(
            settings=settings,
            backbone=loaded.identity,
            device=str(backbone.device),
            drain=drain or Drain(),
            root_key=root_key(load_admin_key(settings)),
            metrics=metrics,
            registry=registry,
            follower=follower,
            slots=slots,
            tokenizer=tokenizer,
            admission=admission,
            scheduler=scheduler,
            uploads=Uploads(checker, registry, follower, slots, max_uploads=settings.max_uploads),
        )


def load_for(settings: Settings) -> LoadedBackbone:
    """The backbone that `settings` ask for, on its device, laid out for inference.

    From then on torch computes with one thread, but in the engine: where two threads have each a team of OpenMP's, and
    these are more than the cores, their members sleep between operations instead of spinning.
    """
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    on_cuda = torch.device(device).type == "cuda"
    name = ("bfloat16" if on_cuda else "float32") if settings.dtype == "auto" else settings.dtype
    torch.set_num_threads(1)
    loaded = load_backbone(settings.backbone, device=device, dtype=getattr(torch, name))
    loaded.backbone.pack()
    return loaded


def engine_threads(settings: Settings) -> int:
    """Threads of the engine on the CPU."""
    return settings.num_threads or len(os.sched_getaffinity(0))


def _cuda_forward(backbone: Backbone, bank: AdapterBank, settings: Settings) -> "CudaForward | None":
    if backbone.device.type != "cuda":
        return None
    from adapters.cuda_forward import CudaForward  # it needs Triton, which torch brings only where it has CUDA

    capture = CudaGraphs(backbone.device).capture if settings.cuda_graphs else None
    forward = CudaForward(backbone, bank, max_batch_tokens=settings.max_batch_tokens, capture=capture)
    forward.warm_up()
    return forward


@dataclass(frozen=True)
class _Holding:
    """The engine, with the slots of each batch held while it is computed."""

    slots: Slots
    engine: Engine

    async def prepare(self, batch: Batch) -> tuple[Batch, PreparedBatch]:
        return batch, await self.engine.prepare(batch)

    async def compute(self, prepared: tuple[Batch, PreparedBatch]) -> list[np.ndarray]:
        batch, ready = prepared
        with self.slots.held({segment.slot for segment in batch.segments}):
            return await self.engine.compute(ready)


def _on_change(loads: Loads, slots: Slots, metrics: Metrics) -> Callable[[Snapshot], None]:
    warming: set[asyncio.Task[None]] = set()

    def changed(snapshot: Snapshot) -> None:
        metrics.registry_revision.set(snapshot.revision)
        versions = [version for entry in snapshot.tasks.values() for version in entry.versions.values()]
        metrics.quarantined.set(sum(version.quarantined for version in versions))
        published = {version.digest for version in versions}
        loads.follow(published)
        slots.follow(published)
        task = asyncio.create_task(_warm_live(slots, snapshot))
        warming.add(task)
        task.add_done_callback(warming.discard)

    return changed


async def _warm_live(slots: Slots, snapshot: Snapshot) -> None:
    """Load the live adapters as far as they fit, so that no client waits for it."""
    for version in snapshot.live():
        if version.quarantined or slots.is_resident(version.digest) or not slots.has_room_for(version):
            continue
        try:
            await slots.warm(version)
        except ServiceError as error:
            logger.error("%s@%d cannot be loaded: %s", version.task, version.version, error)
