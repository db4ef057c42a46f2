"""One HTTP process: uvicorn with the application, on one port or two, from start to the last response."""

import asyncio
import errno
import gc
import logging
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import uvicorn

from adapters.backbone.files import find_backbone
from adapters.errors import AdapterError
from service.app import create_apps, http_side
from service.dispatch.client import RemoteDispatcher
from service.dispatch.dispatcher import Dispatcher
from service.dispatch.load_page import LoadPage
from service.engine_process.assemble import bounds_of
from service.engine_process.places import metrics_in, page_in, socket_in
from service.errors import EngineDied, InvalidInput, ServiceError
from service.observability.logs import to_stderr
from service.observability.metrics import Metrics
from service.processes.channel import Channel
from service.processes.child import begin
from service.processes.exhausted import explain
from service.registry import Follower, Registry
from service.server.connection.connection_limit import raise_file_limit
from service.server.graceful_server import GracefulServer
from service.server.messages import Alive, Begin, Drain, Listening, StartFailed
from service.settings import Settings

ALIVE_S = 1.0  # between two signs of life
_GARBAGE = 50_000  # new objects before Python looks for garbage: in overload a thousand requests keep theirs alive

logger = logging.getLogger(__name__)


def run_http(end: socket.socket, settings: Settings, folder: Path, sockets: Sequence[Sequence[socket.socket]]) -> None:
    """Serve on `sockets`, those of the public port and of the admin port if there is one, until told to drain."""
    begin("http")
    with to_stderr(settings):
        raise_file_limit()
        with asyncio.Runner(loop_factory=uvicorn.Config("", log_config=None).get_loop_factory()) as runner:
            runner.run(HttpProcess(settings, folder, sockets).run(end))


class HttpProcess:
    """The life of an HTTP process."""

    def __init__(self, settings: Settings, folder: Path, sockets: Sequence[Sequence[socket.socket]]) -> None:
        self._settings, self._folder, self._sockets = settings, folder, sockets
        self._begun: asyncio.Future[Begin | None] | None = None  # None: drained before the engine process was ready
        self._draining = asyncio.Event()
        self._wait_s = 0.0  # from the start of draining until it stops to listen

    async def run(self, end: socket.socket) -> None:
        """Serve until the last response is sent."""
        self._begun = asyncio.get_running_loop().create_future()
        control = await Channel.connect(end, self._handle, self._drain)
        try:
            if (begun := await self._begun) is not None:
                await self._serve(control, begun)
        except EngineDied:
            pass  # the supervisor logs it
        except (AdapterError, ServiceError) as error:
            control.send(StartFailed(error))
        except Exception as error:
            cause = explain(error)
            if cause is None and isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                cause = "another server has begun to listen on its port: end that one, or choose another ADAKRON_PORT"
            if cause is not None:
                control.send(StartFailed(InvalidInput(f"an HTTP process: {cause}")))
            else:
                logger.critical("an HTTP process failed: a bug, or a fault of the system", exc_info=True)
        control.close()

    def _handle(self, message: object) -> None:
        match message:
            case Begin():
                assert self._begun is not None
                if not self._begun.done():
                    self._begun.set_result(message)
            case Drain(wait_s):
                self._wait_s = wait_s
                self._drain()

    def _drain(self) -> None:
        assert self._begun is not None
        self._draining.set()
        if not self._begun.done():
            self._begun.set_result(None)

    async def _serve(self, control: Channel, begun: Begin) -> None:
        settings = self._settings
        async with AsyncExitStack() as stack:
            metrics = Metrics(settings.metrics_max_tasks, metrics_in(self._folder))
            stack.callback(metrics.close)
            stack.callback(asyncio.create_task(metrics.keep_current()).cancel)
            source = await asyncio.to_thread(find_backbone, settings.backbone)
            registry = await asyncio.to_thread(Registry.open, settings.resolved_registry_url)
            stack.callback(registry.close)

            async def connect(follower: Follower) -> Dispatcher:
                page = LoadPage.attach(page_in(self._folder))
                stack.callback(page.close)
                dispatcher = RemoteDispatcher(
                    begun.engine,
                    self._folder,
                    page,
                    bounds_of(settings),
                    follow=follower.refresh,
                    weight=lambda task: follower.snapshot.weight(task),
                )
                await dispatcher.connect(socket_in(self._folder))
                stack.callback(dispatcher.close)
                return dispatcher

            side = http_side(settings, source, registry, metrics, connect, self._draining)
            state = await stack.enter_async_context(side)
            gc.collect()
            gc.freeze()  # a collection would scan half a million objects of imported code: 0.1 s in which requests wait
            gc.set_threshold(_GARBAGE)
            servers = [GracefulServer(app, settings) for app in create_apps(state)]
            running = [
                asyncio.create_task(server.serve(sockets=list(its)))
                for server, its in zip(servers, self._sockets, strict=True)
            ]
            helpers = [
                asyncio.create_task(self._report(control, servers)),
                asyncio.create_task(self._end_with(state.dispatcher)),
                asyncio.create_task(self._end(servers, running)),
            ]
            try:
                await asyncio.gather(*running)
            finally:
                for task in helpers:
                    task.cancel()

    async def _report(self, control: Channel, servers: Sequence[GracefulServer]) -> None:
        for server in servers:
            await server.is_listening.wait()
        control.send(Listening())
        while True:
            await asyncio.sleep(ALIVE_S)
            control.send(Alive())

    async def _end_with(self, dispatcher: Dispatcher) -> None:
        await dispatcher.died.wait()
        self._draining.set()

    async def _end(self, servers: Sequence[GracefulServer], running: Sequence[asyncio.Task[None]]) -> None:
        """End the servers once draining has begun and its wait has passed."""
        await self._draining.wait()
        for server in servers:  # one that ends before it listens loses the connections that wait
            await server.is_listening.wait()
        await asyncio.sleep(self._wait_s)
        for server, task in zip(servers, running, strict=True):  # the admin port last: it serves metrics to the end
            server.should_exit = True
            await asyncio.wait([task])
