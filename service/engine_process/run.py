"""The engine process: what `adakron serve` starts once, and the place at which its HTTP processes connect."""

import asyncio
import gc
import logging
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from adapters.backbone.files import BackboneSource
from adapters.errors import AdapterError
from service.dispatch.load_page import LoadPage
from service.engine.backend import EngineBackend
from service.engine_process.assemble import engine_side
from service.engine_process.places import Started, StartFailed, metrics_in, page_in, socket_in
from service.engine_process.server import DispatchServer
from service.errors import InvalidInput, ServiceError
from service.observability.logs import to_stderr
from service.observability.metrics import Metrics
from service.processes.channel import Channel
from service.processes.child import begin, share_fork_server
from service.processes.exhausted import explain
from service.registry import Registry
from service.settings import Settings

logger = logging.getLogger(__name__)


def run_engine(end: socket.socket, settings: Settings, folder: Path, fork_server: dict[str, Any]) -> None:
    """Serve HTTP processes until the supervisor closes its end of the socket pair."""
    begin("engine")
    share_fork_server(fork_server)
    with to_stderr(settings), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(end, settings, folder))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the event loop that uvicorn takes in the HTTP processes: uvloop's where it is installed."""
    try:
        import uvloop
    except ImportError:  # it does not exist for every system
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def open_engine(settings: Settings) -> tuple[BackboneSource, EngineBackend]:
    """Load the backbone that `settings` name, on its device. Raises BackboneError."""
    from service.engine.worker import EngineWorker, load_backbone_for  # imports torch

    loaded = load_backbone_for(settings)
    return loaded.source, EngineWorker(loaded, settings)


async def _serve(end: socket.socket, settings: Settings, folder: Path) -> None:
    stop = asyncio.Event()
    control = await Channel.connect(end, lambda message: None, stop.set)
    try:
        async with AsyncExitStack() as stack:
            metrics = Metrics(settings.metrics_max_tasks, metrics_in(folder), "engine")
            stack.callback(metrics.close)
            stack.callback(asyncio.create_task(metrics.keep_current()).cancel)
            registry = Registry.open(settings.resolved_registry_url)
            stack.callback(registry.close)
            source, engine = open_engine(settings)
            stack.push_async_callback(engine.close)
            dispatcher = await stack.enter_async_context(engine_side(settings, source, engine, registry, metrics))
            page = LoadPage.create(page_in(folder))
            server = DispatchServer(dispatcher, page)
            listening = await asyncio.get_running_loop().create_unix_server(server.accept, str(socket_in(folder)))
            stack.callback(listening.close)
            gc.collect()
            gc.freeze()  # a collection would scan half a million objects of imported code: 0.1 s in which requests wait
            control.send(Started(dispatcher.engine))
            await stop.wait()
    except (AdapterError, ServiceError) as error:
        control.send(StartFailed(error))
    except Exception as error:
        if (cause := explain(error)) is not None:
            control.send(StartFailed(InvalidInput(f"the engine process: {cause}")))
        else:
            logger.critical("the engine process failed: a bug, or a fault of the system", exc_info=True)
    control.close()
