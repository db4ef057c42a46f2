"""Run the application under uvicorn, on one port or two, and say at start what a newcomer wants to know."""

import asyncio
import gc
import logging
import signal
from collections.abc import Awaitable

import uvicorn

from service.app import create_apps, serving
from service.auth.admin_key import admin_key_path, load_admin_key
from service.engine.process import EngineProcess
from service.engine.worker import EngineWorker
from service.errors import EngineLost
from service.processes.drain import Drain
from service.registry import Registry
from service.server.connection.crowd import raise_file_limit
from service.server.listening import ListeningServer
from service.server.sockets import open_all
from service.settings import Settings
from service.settings.urls import url_of

logger = logging.getLogger(__name__)


def run_server(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, and then to the end of what was accepted; a second signal ends at once.

    Raises RegistryUnavailable or InvalidInput for the registry, BackboneError for the backbone, InvalidInput for an
    address: before anything listens, so that the command line can say it in one line. Raises EngineLost when the
    engine's process has ended.
    """
    load_admin_key(settings)
    where = "ADAKRON_ADMIN_KEY" if settings.admin_key is not None else str(admin_key_path(settings).absolute())
    logger.info("admin key: %s", where)
    public = operators = url_of(settings.host, settings.port)
    logger.info("loading %s; then: %s/docs", settings.backbone, public)
    if settings.admin_port is not None:
        operators = url_of(settings.admin_host or settings.host, settings.admin_port)
        logger.info("admin API and metrics: %s/docs", operators)
    if settings.console:
        logger.info("console: %s/console", operators)
    Registry.open(settings.resolved_registry_url).close()
    raise_file_limit()
    with asyncio.Runner(loop_factory=uvicorn.Config("", log_config=None).get_loop_factory()) as runner:
        runner.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    drain = Drain()
    async with serving(settings, drain=drain) as state:
        gc.collect()
        gc.freeze()  # half a million objects of imported code: to go through them takes 0.1 s, and all requests wait
        places = [(settings.host, settings.port), (settings.admin_host or settings.host, settings.admin_port)]
        apps = create_apps(state)
        sockets = open_all([(host, port or 0) for host, port in places[: len(apps)]])
        servers = [
            ListeningServer(app, settings, host, port or 0) for app, (host, port) in zip(apps, places, strict=False)
        ]
        running = [
            asyncio.create_task(server.serve(sockets=its))
            for server, its in zip(reversed(servers), reversed(sockets), strict=True)
        ]
        ending = asyncio.create_task(_end(servers, running[::-1], _when_signalled(settings, drain)))
        lost = asyncio.create_task(_end(servers, running[::-1], _when_lost(state.device, drain)))
        await asyncio.gather(*running)
        for task in (ending, lost):
            task.cancel()
        if state.device.lost.is_set():
            raise EngineLost("the engine's process has ended")


def _when_signalled(settings: Settings, drain: Drain) -> asyncio.Future[float]:
    """Done by the first signal: the seconds that the server goes on listening."""
    loop = asyncio.get_running_loop()
    waits_s = {signal.SIGTERM: settings.drain_s, signal.SIGINT: 0.0}  # nobody probes for who presses Ctrl-C
    signalled: asyncio.Future[float] = loop.create_future()

    def end(wait_s: float) -> None:
        if signalled.done():  # two signals that arrived in the same turn of the loop count as one
            return
        for number in waits_s:  # the next one ends the process at once
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        logger.info("draining: not ready any more; the end begins in %g s (the next signal ends at once)", wait_s)
        drain.begin()
        signalled.set_result(wait_s)

    for number, wait_s in waits_s.items():
        loop.add_signal_handler(number, end, wait_s)
    return signalled


async def _when_lost(device: EngineWorker | EngineProcess, drain: Drain) -> float:
    """Returns when nothing can be computed any more: how long to go on then."""
    await device.lost.wait()
    drain.begin()
    return 0.0


async def _end(servers: list[ListeningServer], running: list[asyncio.Task[None]], when: Awaitable[float]) -> None:
    """Once `when` is done, and so many seconds later."""
    await asyncio.sleep(await when)
    for server, task in zip(servers, running, strict=True):  # the operators' last: metrics stay to the end
        server.should_exit = True
        await asyncio.wait([task])
