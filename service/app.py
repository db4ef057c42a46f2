"""The composition root: builds everything that a server needs, in order, and passes it in."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version as package_version
from typing import TYPE_CHECKING, TypedDict

from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp, Lifespan

from adapters.backbone.files import BackboneSource, find_backbone
from service.adapter_cache.cache import AdapterCache
from service.adapter_cache.loader import AdapterLoader
from service.api import PREDICTION_ENDPOINTS, admin_routers, public_routers
from service.api.http import errors
from service.api.http.cors import Preflight
from service.api.http.draining import Draining
from service.api.http.request_log import RequestLog
from service.api.http.routing import HeadAsGet
from service.api.predict.endpoints import PredictionEndpoints
from service.api.state import ServerState
from service.auth.keys import load_admin_key
from service.auth.permissions import root_key
from service.engine.backend import EngineBackend
from service.engine.process import EngineProcess
from service.inference.label_counts import LabelCounts
from service.inference.predictor import Predictor
from service.inference.tokenizer import Tokenizer
from service.inference.warm_up import load_live, warm_up
from service.observability.access_log import AccessLog
from service.observability.metrics import Metrics
from service.observability.tracing import Tracing
from service.processes.cgroups import memory_limit_bytes
from service.publishing.checker import Checker
from service.publishing.shipped import publish_shipped
from service.publishing.uploads import Uploads
from service.registry import Follower, Registry, Snapshot
from service.scheduling.admission import Admission, Bounds
from service.scheduling.scheduler import Scheduler
from service.scheduling.throughput import ThroughputEstimator
from service.settings import Settings

if TYPE_CHECKING:
    from adapters.backbone.source import LoadedBackbone

_DESCRIPTION = """
Many text tasks on one frozen BERT: each task is a small AdaKron adapter, and different tasks share a batch.
`GET /v1/tasks` lists the tasks, `POST /v1/{task}/predict` classifies. Paths below `/admin` need
`Authorization: Bearer KEY`.
"""


class LifespanState(TypedDict):
    """The contents of `request.state`."""

    server: ServerState


def create_app(settings: Settings, load: Callable[[Settings], "LoadedBackbone"] | None = None) -> FastAPI:
    """Return one ASGI application with all routes; its lifespan builds the state. `load` as in `serving`."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[LifespanState]:
        async with serving(settings, load) as state:
            yield {"server": state}

    return _application(settings, lifespan, [*public_routers(settings), *admin_routers(settings)])


def create_apps(state: ServerState) -> list[FastAPI]:
    """Return the applications of a built server: one, or with `admin_port` the public one and the admin one.

    The admin application has all routes: its console makes predictions, too.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[LifespanState]:
        yield {"server": state}

    public, admin = public_routers(state.settings), admin_routers(state.settings)
    everything = _application(state.settings, lifespan, [*public, *admin])
    if state.settings.admin_port is None:
        return [everything]
    return [_application(state.settings, lifespan, public), everything]


def _application(settings: Settings, lifespan: Lifespan[FastAPI], routers: Sequence[APIRouter]) -> FastAPI:
    app: FastAPI = FastAPIOffline(
        title="AdaKron Serve",
        version=package_version("adakron-serve"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would use the Host header, which the client controls
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
        },  # service.observability does it, at less cost
    )
    for router in routers:
        app.include_router(router)
    list(iter_route_contexts(app.routes))  # otherwise FastAPI builds them at the first request, on the event loop
    errors.install_handlers(app)
    stack: ASGIApp = PredictionEndpoints(HeadAsGet(app.build_middleware_stack()), PREDICTION_ENDPOINTS)
    if settings.cors_origins:
        stack = Preflight(stack, settings.cors_origins)
    app.middleware_stack = RequestLog(Draining(stack))  # outside of FastAPI's own middleware
    return app


@asynccontextmanager
async def serving(
    settings: Settings,
    load: Callable[[Settings], "LoadedBackbone"] | None = None,
    draining: asyncio.Event | None = None,
) -> AsyncIterator[ServerState]:
    """Build everything in order, and close it in the opposite order.

    The engine has a process of its own; with `load`, which returns a backbone, it computes in this process.
    """
    tracing = Tracing.from_environment()
    async with AsyncExitStack() as stack:
        if tracing is not None:
            stack.push_async_callback(asyncio.to_thread, tracing.close)
        source, engine = await _open_engine(settings, load)
        stack.push_async_callback(engine.close)
        metrics = Metrics(settings.metrics_max_tasks)
        stack.callback(metrics.close)
        _describe(metrics, source, engine)
        if (engine_pid := engine.pid) is not None:
            metrics.watch_process("engine", lambda: engine_pid)
        registry = await asyncio.to_thread(Registry.open, settings.resolved_registry_url)
        stack.callback(registry.close)
        checker = Checker(source, engine.dtype, settings)
        stack.callback(checker.close)
        if settings.publish_shipped_adapters:
            await publish_shipped(registry, checker)
        metrics.watch_process("checker", lambda: checker.pid)
        loader = AdapterLoader(registry.read_adapter, engine, file_memory_bytes=settings.adapter_file_memory_bytes)
        metrics.watch(metrics.adapter_files, lambda: loader.files.num_bytes)
        stack.callback(loader.close)
        adapter_cache = AdapterCache(engine, loader.load, settings.adapter_memory_bytes, metrics)
        stack.push_async_callback(adapter_cache.close)
        label_counts = LabelCounts()
        follower = Follower(
            registry, settings.registry_poll_s, _on_change(loader, adapter_cache, label_counts, metrics)
        )
        metrics.watch(metrics.registry_age, lambda: follower.age_s)
        await follower.start()
        stack.push_async_callback(follower.stop)
        tokenizer = Tokenizer(source.encoder, settings.tokenizer_threads)
        stack.callback(tokenizer.close)
        throughput = ThroughputEstimator(
            max_batch_tokens=settings.max_batch_tokens, target_batch_s=settings.target_batch_s
        )
        bounds = Bounds(settings.max_queued_requests, settings.max_queued_tokens, settings.max_predicted_latency_s)

        def weight(task: str) -> float:
            return follower.snapshot.weight(task)

        admission = Admission(bounds, throughput, weight=weight)
        scheduler = Scheduler(engine, admission, throughput, metrics, pin_batch=adapter_cache.pin_batch, weight=weight)
        scheduler.start()
        stack.push_async_callback(scheduler.stop)
        await load_live(adapter_cache, follower.snapshot)
        if settings.warmup:
            await warm_up(engine, adapter_cache, tokenizer, throughput, follower.snapshot)
        uploads = Uploads(checker, registry, follower, adapter_cache, loader, max_uploads=settings.max_uploads)
        metrics.watch(metrics.uploads_in_progress, lambda: uploads.num_under_way)
        draining = draining or asyncio.Event()
        metrics.watch(metrics.draining, draining.is_set)
        yield ServerState(
            settings=settings,
            backbone=source.identity,
            engine=engine,
            draining=draining,
            root_key=root_key(load_admin_key(settings)),
            metrics=metrics,
            label_counts=label_counts,
            access_log=AccessLog(settings, metrics, tracing),
            registry=registry,
            follower=follower,
            adapter_cache=adapter_cache,
            admission=admission,
            predictor=Predictor(tokenizer, admission, adapter_cache, scheduler, label_counts, metrics),
            uploads=uploads,
        )


def _describe(metrics: Metrics, source: BackboneSource, engine: EngineBackend) -> None:
    """Set the metrics that are constant while the server runs."""
    metrics.expect_errors(errors.ERROR_TYPES)
    metrics.memory_limit.set(memory_limit_bytes())
    identity = source.identity
    labels = package_version("adakron-serve"), identity.name, identity.weights_sha256[:12], engine.name, engine.dtype
    metrics.build.labels(*labels).set(1)


async def _open_engine(
    settings: Settings, load: Callable[[Settings], "LoadedBackbone"] | None
) -> tuple[BackboneSource, EngineBackend]:
    if load is None:
        source = await asyncio.to_thread(find_backbone, settings.backbone)
        return source, await EngineProcess.start(settings)
    from service.engine.worker import EngineWorker  # imports torch, which the server's process otherwise does not need

    loaded = await asyncio.to_thread(load, settings)
    return loaded.source, await asyncio.to_thread(EngineWorker, loaded, settings)


def _on_change(
    loader: AdapterLoader, adapter_cache: AdapterCache, label_counts: LabelCounts, metrics: Metrics
) -> Callable[[Snapshot], None]:
    warming: set[asyncio.Task[None]] = set()

    def changed(snapshot: Snapshot) -> None:
        metrics.registry_revision.set(snapshot.revision)
        versions = [version for entry in snapshot.tasks.values() for version in entry.versions.values()]
        metrics.quarantined.set(sum(version.quarantined for version in versions))
        published = {version.digest for version in versions}
        loader.on_registry_change(published)
        adapter_cache.on_registry_change(published)
        label_counts.on_registry_change(published)
        task = asyncio.create_task(load_live(adapter_cache, snapshot))
        warming.add(task)
        task.add_done_callback(warming.discard)

    return changed
