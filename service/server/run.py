"""Run the application under uvicorn, on one port or two, from start to the last response."""

import asyncio
import gc
import logging
import signal
from collections.abc import Awaitable

import uvicorn

from service.app import create_apps, serving
from service.auth.keys import admin_key_path, load_admin_key
from service.engine.backend import EngineBackend
from service.errors import EngineDied
from service.registry import Registry
from service.server.connection.connection_limit import raise_file_limit
from service.server.graceful_server import GracefulServer
from service.server.sockets import open_all
from service.settings import Settings
from service.settings.web import url_of

logger = logging.getLogger(__name__)


def run_server(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish accepted requests; a second signal ends the process at once.

    Before the server listens, raises RegistryUnavailable or InvalidInput for the registry, BackboneError for the
    backbone, and InvalidInput for an address. Raises EngineDied when the engine's process has ended.
    """
    load_admin_key(settings)
    where = "ADAKRON_ADMIN_KEY" if settings.admin_key is not None else str(admin_key_path(settings).absolute())
    logger.info("admin key: %s", where)
    public = admin = url_of(settings.host, settings.port)
    logger.info("loading %s; then: %s/docs", settings.backbone, public)
    if settings.admin_port is not None:
        admin = url_of(settings.admin_host or settings.host, settings.admin_port)
        logger.info("admin API and metrics: %s/docs", admin)
    if settings.console:
        logger.info("console: %s/console", admin)
    Registry.open(settings.resolved_registry_url).close()
    raise_file_limit()
    with asyncio.Runner(loop_factory=uvicorn.Config("", log_config=None).get_loop_factory()) as runner:
        runner.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    draining = asyncio.Event()
    async with serving(settings, draining=draining) as state:
        gc.collect()
        gc.freeze()  # a collection would scan half a million objects of imported code: 0.1 s in which all requests wait
        places = [(settings.host, settings.port), (settings.admin_host or settings.host, settings.admin_port)]
        apps = create_apps(state)
        sockets = open_all([(host, port or 0) for host, port in places[: len(apps)]])
        servers = [
            GracefulServer(app, settings, host, port or 0) for app, (host, port) in zip(apps, places, strict=False)
        ]
        running = [
            asyncio.create_task(server.serve(sockets=its))
            for server, its in zip(reversed(servers), reversed(sockets), strict=True)
        ]
        ends = [
            asyncio.create_task(_end(servers, running[::-1], _when_signalled(settings, draining))),
            asyncio.create_task(_end(servers, running[::-1], _when_engine_died(state.engine, draining))),
        ]
        await asyncio.gather(*running)
        for task in ends:
            task.cancel()
        if state.engine.died.is_set():
            raise EngineDied("the engine's process has ended")


def _when_signalled(settings: Settings, draining: asyncio.Event) -> asyncio.Future[float]:
    """Return a future that the first signal resolves, with the seconds for which the server goes on listening."""
    loop = asyncio.get_running_loop()
    waits_s = {signal.SIGTERM: settings.drain_s, signal.SIGINT: 0.0}  # after Ctrl-C there is no proxy to wait for
    signalled: asyncio.Future[float] = loop.create_future()

    def end(wait_s: float) -> None:
        if signalled.done():  # two signals that arrive in the same turn of the loop count as one
            return
        for number in waits_s:  # the next signal ends the process at once
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        logger.info("draining: not ready; listening ends in %g s (another signal ends the server at once)", wait_s)
        draining.set()
        signalled.set_result(wait_s)

    for number, wait_s in waits_s.items():
        loop.add_signal_handler(number, end, wait_s)
    return signalled


async def _when_engine_died(engine: EngineBackend, draining: asyncio.Event) -> float:
    await engine.died.wait()
    draining.set()
    return 0.0


async def _end(servers: list[GracefulServer], running: list[asyncio.Task[None]], when: Awaitable[float]) -> None:
    """End the servers once `when` is done and the seconds that it returns have passed."""
    await asyncio.sleep(await when)
    for server, task in zip(servers, running, strict=True):  # the admin port last: it serves metrics to the end
        server.should_exit = True
        await asyncio.wait([task])
