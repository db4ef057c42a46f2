"""Supervisor: the main process of `adakron serve`, which starts the engine process and the HTTP processes.

It handles signals, replaces HTTP processes that end or hang, and ends the server when the engine process has ended.
"""

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any

from service.engine_process.places import Started, metrics_in
from service.engine_process.places import StartFailed as EngineFailed
from service.errors import EngineDied
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
        self._drain: Drain | None = None  # once no other process shall start
        self._child: ChildProcess | None = None  # while it runs
        self._seen_at: float | None = None  # last sign of life of a process that listens, monotonic seconds

    async def keep(self) -> None:
        """Keep a process running until `drain`. The first one that cannot start fails `listening`."""
        restart_s = RESTART_S
        while self._drain is None:
            self._seen_at = None
            cause = await self._run_one()
            if self._drain is not None or (self.listening.done() and self.listening.exception() is not None):
                return
            if not self.listening.done():
                message = "an HTTP process ended while it started: see the server's log"
                return self.listening.set_exception(EngineDied(message))
            logger.error("%s: another one takes its place", cause)
            restart_s = RESTART_S if self._seen_at is not None else min(2 * restart_s, MAX_RESTART_S)
            await asyncio.sleep(restart_s)

    async def _run_one(self) -> str:
        """Run a process to its end, and return how it has ended."""
        try:
            child = await ChildProcess.start(
                _run_http, self._settings, self._folder, self.sockets, name="http", handle=self._handle
            )
        except (OSError, EOFError, RuntimeError) as error:  # no process or memory is left, or no fork server
            return f"an HTTP process could not be started ({type(error).__name__}: {error})"
        self._child = child
        for message in (self._begin, self._drain):
            if message is not None:
                child.send(message)
        await child.ended.wait()
        self._child = None
        await child.join(0)
        for upload in self._folder.glob(f"upload-{child.pid}-*"):
            upload.unlink(missing_ok=True)
        await self._keep_counts(child.pid)
        return f"HTTP process {child.pid} ended ({child.exit_cause})"

    def begin(self, message: Begin) -> None:
        """Have the process, and every later one, serve."""
        self._begin = message
        if self._child is not None:
            self._child.send(message)

    def drain(self, wait_s: float) -> None:
        """Have the process end, and start no other."""
        self._drain = Drain(wait_s)
        if self._child is not None:
            self._child.send(self._drain)

    def kill(self) -> None:
        """End the process at once, and start no other."""
        self._drain = Drain(0.0)
        if self._child is not None:
            self._child.kill()

    @property
    def is_running(self) -> bool:
        """Whether its process runs, and so holds the sockets itself."""
        return self._child is not None

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
        from service.observability.metrics import mark_process_dead  # imports what the supervisor rarely needs

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
        self._first_answers = asyncio.Event()  # an HTTP process listens: from now on clients have something to lose
        for slot in self._slots:
            slot.listening.add_done_callback(lambda _: self._first_answers.set())

    async def run(self) -> None:
        """Serve until a signal. Raises what prevents the start, and EngineDied when the engine process has ended."""
        keeping = [asyncio.create_task(slot.keep()) for slot in self._slots]
        arguments = self._settings, self._folder, fork_server_place()
        engine = await ChildProcess.start(_run_engine, *arguments, name="engine", handle=self._handle_engine)
        died = asyncio.create_task(_raise_when_ended(engine))
        watching = asyncio.create_task(self._watch())
        starting = asyncio.create_task(self._start())
        try:
            await _first_of(self._first_answers.wait(), starting, died)
            signalled = _when_signalled(self._settings)  # until now, a signal ends the server at once
            await _first_of(starting, signalled, died)
            if starting.done():
                self._log_addresses()
                await _first_of(signalled, died)
            await self._drain(signalled.result(), keeping)
            if died.done():
                died.result()
        finally:
            for task in (watching, died, starting):
                task.cancel()
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

    async def _start(self) -> None:
        """Wait until all HTTP processes listen. Raises what prevents it."""
        begin = Begin((await self._started).engine)
        for slot in self._slots:
            slot.begin(begin)
        await asyncio.gather(*(slot.listening for slot in self._slots))

    async def _drain(self, wait_s: float, keeping: Sequence[asyncio.Task[None]]) -> None:
        """Let all HTTP processes answer what has arrived, and wait until they have ended."""
        for slot in self._slots:
            slot.drain(wait_s)
        if all(slot.is_running for slot in self._slots):
            self._close_sockets()  # otherwise clients would wait at a socket that its process has closed
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

    def _close_sockets(self) -> None:
        for slot in self._slots:
            for opened in slot.sockets:
                for each in opened:
                    each.close()

    def _log_addresses(self) -> None:
        """Log where the server listens, the admin port first."""
        for opened in reversed(self._slots[0].sockets):
            host, port = opened[0].getsockname()[:2]
            logger.info("Uvicorn running on %s (Press CTRL+C to quit)", url_of(host, port))


def _run_engine(end: socket.socket, settings: Settings, folder: Path, fork_server: dict[str, Any]) -> None:
    from service.engine_process.run import run_engine  # imports what only the new process needs

    run_engine(end, settings, folder, fork_server)


def _run_http(end: socket.socket, settings: Settings, folder: Path, sockets: Sequence[Sequence[socket.socket]]) -> None:
    from service.server.http_process import run_http  # as above, FastAPI first of all

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


async def _raise_when_ended(engine: ChildProcess) -> None:
    await engine.ended.wait()
    raise EngineDied(f"the engine process has ended ({engine.exit_cause})")


async def _first_of(*awaited: Awaitable[object]) -> None:
    """Wait for the first of `awaited` to end, and raise its error if it has one."""
    tasks = [asyncio.ensure_future(each) for each in awaited]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    errors = [error for task in tasks if task.done() and (error := task.exception()) is not None]
    if errors:
        raise errors[0]
