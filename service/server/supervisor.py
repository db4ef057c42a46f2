"""Supervisor: the main process of `adakron serve`, which starts the engine process and the HTTP processes.

It handles signals, replaces HTTP processes that end or hang, and ends the server when the engine process has ended.
"""

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service.engine_process.run import Started, metrics_in, run_engine
from service.engine_process.run import StartFailed as EngineFailed
from service.errors import EngineDied
from service.observability.metrics import mark_process_dead
from service.processes.child import ChildProcess, fork_server_place
from service.server.messages import Alive, Begin, Drain, Listening, StartFailed
from service.settings import Settings
from service.settings.web import url_of

HANG_S = 15.0  # without a sign of life, an HTTP process is ended
WATCH_S = 1.0  # between two looks at the signs of life
RESTART_S, MAX_RESTART_S = 0.1, 5.0  # before an HTTP process is replaced; doubled for each one that never listened
END_S = 10.0  # in which a process must end once nothing is left to do; then it is killed

logger = logging.getLogger(__name__)


class HttpSlot:
    """The place of one HTTP process, with its sockets, which outlive it."""

    def __init__(self, settings: Settings, folder: Path, sockets: Sequence[Sequence[socket.socket]]) -> None:
        self.listening: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # the first time
        self._settings, self._folder, self.sockets = settings, folder, sockets
        self._begin: Begin | None = None
        self._child: ChildProcess | None = None
        self._seen_at: float | None = None  # last sign of life of a process that listens, monotonic seconds
        self._is_ending = False

    async def keep(self) -> None:
        """Keep a process running until `drain`. The first one that cannot start fails `listening`."""
        restart_s = RESTART_S
        while not self._is_ending:
            self._seen_at = None
            child = self._child = await ChildProcess.start(
                _run_http, self._settings, self._folder, self.sockets, name="http", handle=self._handle
            )
            if self._is_ending:  # since the start of this process
                child.send(Drain(0.0))
            elif self._begin is not None:
                child.send(self._begin)
            await child.ended.wait()
            has_listened = self._seen_at is not None
            await child.join(0)
            if self._is_ending:
                return
            if not self.listening.done():
                message = "an HTTP process ended while it started: see the server's log"
                return self.listening.set_exception(EngineDied(message))
            logger.error("HTTP process %d ended (%s) and is replaced", child.pid, child.exit_cause)
            await self._keep_counts(child.pid)
            restart_s = RESTART_S if has_listened else min(2 * restart_s, MAX_RESTART_S)
            await asyncio.sleep(restart_s)

    def begin(self, message: Begin) -> None:
        """Have the process, and every later one, serve."""
        self._begin = message
        if self._child is not None:
            self._child.send(message)

    def drain(self, wait_s: float) -> None:
        """Have the process end, and start no other."""
        self._is_ending = True
        if self._child is not None:
            self._child.send(Drain(wait_s))

    def kill(self) -> None:
        """End the process at once, and start no other."""
        self._is_ending = True
        if self._child is not None:
            self._child.kill()

    def check(self, now: float) -> None:
        """Kill a process that has given no sign of life for HANG_S; `now` in monotonic seconds."""
        if self._child is not None and self._seen_at is not None and now - self._seen_at > HANG_S:
            logger.error("HTTP process %d hangs: no sign of life for %g s", self._child.pid, HANG_S)
            self._seen_at = now
            self._child.kill()

    def forgive(self, seconds: float) -> None:
        """Ignore the last `seconds`, in which the supervisor did not run either."""
        if self._seen_at is not None:
            self._seen_at += seconds

    async def _keep_counts(self, pid: int) -> None:
        try:
            await asyncio.to_thread(mark_process_dead, metrics_in(self._folder), pid)
        except OSError as error:
            logger.error("the metrics of HTTP process %d stay in a file of their own: %s", pid, error)

    def _handle(self, message: object) -> None:
        match message:
            case Listening() | Alive():
                self._seen_at = time.monotonic()
                if not self.listening.done():
                    self.listening.set_result(None)
            case StartFailed(error):
                if self.listening.done():
                    logger.error("an HTTP process cannot start: %s", error)
                else:
                    self.listening.set_exception(error)


class Supervisor:
    """The processes of one server: an engine process, and an HTTP process for each of `sockets`."""

    def __init__(self, settings: Settings, folder: Path, sockets: Sequence[Sequence[Sequence[socket.socket]]]) -> None:
        self._settings, self._folder = settings, folder
        self._started: asyncio.Future[Started] = asyncio.get_running_loop().create_future()
        self._slots = [HttpSlot(settings, folder, each) for each in sockets]

    async def run(self) -> None:
        """Serve until a signal. Raises what prevents the start, and EngineDied when the engine process has ended."""
        signalled = _when_signalled(self._settings)
        keeping = [asyncio.create_task(slot.keep()) for slot in self._slots]
        engine = await ChildProcess.start(
            run_engine,
            self._settings,
            self._folder,
            fork_server_place(),
            name="engine",
            handle=self._handle_engine,
        )
        died = asyncio.create_task(engine.ended.wait())
        watching = asyncio.create_task(self._watch())
        try:
            await _first_of(self._started, died, signalled)
            if self._started.done():
                begin = Begin(self._started.result().engine)
                for slot in self._slots:
                    slot.begin(begin)
                listening = asyncio.gather(*(slot.listening for slot in self._slots))
                await _first_of(listening, died, signalled)
                if listening.done():
                    listening.result()
                    self._log_addresses()
                    await _first_of(died, signalled)
            if died.done():
                logger.critical("the engine process has ended")
                raise EngineDied("the engine process has ended")
            await self._drain(signalled.result(), keeping)
        finally:
            watching.cancel()
            died.cancel()
            for slot in self._slots:
                slot.drain(0.0)
            await asyncio.wait(keeping, timeout=END_S)
            for slot in self._slots:
                slot.kill()
            await asyncio.wait(keeping)
            await engine.join(END_S)

    def _handle_engine(self, message: object) -> None:
        match message:
            case Started():
                self._started.set_result(message)
            case EngineFailed(error):
                self._started.set_exception(error)

    async def _drain(self, wait_s: float, keeping: Sequence[asyncio.Task[None]]) -> None:
        """Let all HTTP processes answer what has arrived, and wait until they have ended."""
        for slot in self._slots:
            slot.drain(wait_s)
        await asyncio.wait(keeping, timeout=wait_s + self._settings.shutdown_timeout_s + END_S)

    async def _watch(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(WATCH_S)
            now = time.monotonic()
            for slot in self._slots:
                slot.forgive(max(0.0, now - last - 2 * WATCH_S))  # the whole server was stopped, or starved
                slot.check(now)
            last = now

    def _log_addresses(self) -> None:
        """Log where the server listens, the admin port first."""
        for opened in reversed(self._slots[0].sockets):
            host, port = opened[0].getsockname()[:2]
            logger.info("Uvicorn running on %s (Press CTRL+C to quit)", url_of(host, port))


def _run_http(end: socket.socket, settings: Settings, folder: Path, sockets: Sequence[Sequence[socket.socket]]) -> None:
    from service.server.http_process import run_http  # imports FastAPI, which only the new process needs

    run_http(end, settings, folder, sockets)


def _when_signalled(settings: Settings) -> asyncio.Future[float]:
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
        signalled.set_result(wait_s)

    for number, wait_s in waits_s.items():
        loop.add_signal_handler(number, end, wait_s)
    return signalled


async def _first_of(*awaited: asyncio.Future[Any]) -> None:
    await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
