"""Builds the HTTP side of a server, in order, and passes it in; for tests also a whole server in one process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version as package_version
from typing import TYPE_CHECKING, TypedDict

from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp, Lifespan

from adapters.backbone.files import BackboneSource
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
from service.dispatch.dispatcher import Dispatcher
from service.inference.predictor import Predictor
from service.inference.tokenizer import Tokenizer
from service.observability.access_log import AccessLog
from service.observability.metrics import Metrics
from service.observability.tracing import Tracing
from service.publishing.uploads import Uploads
from service.registry import Follower, Registry, Snapshot
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
    """Return one ASGI application with all routes; its lifespan builds a whole server by `serving`."""

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
    settings: Settings, load: Callable[[Settings], "LoadedBackbone"] | None = None
) -> AsyncIterator[ServerState]:
    """Build a whole server in this process, and close it in the opposite order. `load` may return another backbone."""
    from service.engine.worker import EngineWorker, load_backbone_for  # imports torch; an HTTP process needs none
    from service.engine_process.assemble import engine_side

    metrics = Metrics(settings.metrics_max_tasks)
    async with AsyncExitStack() as stack:
        stack.callback(metrics.close)
        loaded = await asyncio.to_thread(load or load_backbone_for, settings)
        engine = await asyncio.to_thread(EngineWorker, loaded, settings)
        stack.push_async_callback(engine.close)
        registry = await asyncio.to_thread(Registry.open, settings.resolved_registry_url)
        stack.callback(registry.close)
        dispatcher = await stack.enter_async_context(engine_side(settings, loaded.source, engine, registry, metrics))

        async def connect(follower: Follower) -> Dispatcher:
            return dispatcher

        yield await stack.enter_async_context(
            http_side(settings, loaded.source, registry, metrics, connect, asyncio.Event())
        )


@asynccontextmanager
async def http_side(
    settings: Settings,
    source: BackboneSource,
    registry: Registry,
    metrics: Metrics,
    connect: Callable[[Follower], Awaitable[Dispatcher]],
    draining: asyncio.Event,
) -> AsyncIterator[ServerState]:
    """Build the HTTP side of a server; `connect` returns its dispatcher, before the follower reads the registry."""
    tracing = Tracing.from_environment()
    async with AsyncExitStack() as stack:
        if tracing is not None:
            stack.push_async_callback(asyncio.to_thread, tracing.close)
        metrics.expect_errors(errors.ERROR_TYPES)
        follower = Follower(
            registry,
            settings.registry_poll_s,
            lambda snapshot: metrics.registry_revision.set(snapshot.revision),
        )
        metrics.watch(metrics.registry_age, lambda: follower.age_s)
        dispatcher = await connect(follower)
        await follower.start()
        stack.push_async_callback(follower.stop)
        tokenizer = Tokenizer(source.encoder, settings.tokenizer_threads)
        stack.callback(tokenizer.close)
        if settings.warmup:
            await _warm_up(tokenizer, follower.snapshot)
        metrics.watch(metrics.draining, draining.is_set)
        yield ServerState(
            settings=settings,
            backbone=source.identity,
            dispatcher=dispatcher,
            draining=draining,
            root_key=root_key(load_admin_key(settings)),
            metrics=metrics,
            access_log=AccessLog(settings, metrics, tracing),
            registry=registry,
            follower=follower,
            predictor=Predictor(tokenizer, metrics),
            uploads=Uploads(dispatcher, registry, follower),
        )


async def _warm_up(tokenizer: Tokenizer, snapshot: Snapshot) -> None:
    """Prepare a tokenizer for each rule of special tokens."""
    for version in {version.spec.special_tokens: version for version in snapshot.live()}.values():
        await tokenizer.encode(["a"], version.task, version.spec)
