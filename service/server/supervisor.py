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

from service.engine_process.places import Started
from service.engine_process.places import StartFailed as EngineFailed
from service.errors import EngineDied
from service.processes.child import ChildProcess, fork_server_end, fork_server_place
from service.server.http_slot import HttpSlot
from service.server.messages import Begin
from service.settings import Settings
from service.settings.web import url_of

WATCH_S = 1.0  # between two looks at the signs of life
CAUSE_S = 0.5  # after which a fork server that is about to end has ended
_CUT_OFF = "status 255"  # how multiprocessing calls the end of a child whose fork server does not tell how it ended
END_S = 10.0  # in which a process must end once nothing is left to do; then it is killed

logger = logging.getLogger(__name__)


class Supervisor:
    """The processes of one server: an engine process, and an HTTP process for each of `sockets`."""

    def __init__(self, settings: Settings, folder: Path, sockets: Sequence[Sequence[Sequence[socket.socket]]]) -> None:
        self._settings, self._folder = settings, folder
        self._started: asyncio.Future[Started] = asyncio.get_running_loop().create_future()
        self._slots = [HttpSlot(settings, folder, each) for each in sockets]
        self._first_answers = asyncio.Event()  # an HTTP process listens: from now on clients have something to lose
        for slot in self._slots:
            slot.listening.add_done_callback(self._note_answers)

    async def run(self) -> None:
        """Serve until a signal. Raises what prevents the start, and EngineDied when the engine process has ended."""
        arguments = self._settings, self._folder, fork_server_place()
        try:
            engine = await ChildProcess.start(_run_engine, *arguments, name="engine", handle=self._handle_engine)
        except EOFError:
            raise EngineDied(fork_server_end() or "the fork server started no engine process") from None
        keeping = [asyncio.create_task(slot.keep()) for slot in self._slots]
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

    def _note_answers(self, listening: asyncio.Future[None]) -> None:
        if not listening.cancelled():
            listening.exception()  # retrieved: of several that cannot start, `run` raises the first
        self._first_answers.set()

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
    if engine.exit_cause == _CUT_OFF:
        await asyncio.sleep(CAUSE_S)
    raise EngineDied(fork_server_end() or f"the engine process has ended ({engine.exit_cause})")


async def _first_of(*awaited: Awaitable[object]) -> None:
    """Wait for the first of `awaited` to end, and raise its error if it has one."""
    tasks = [asyncio.ensure_future(each) for each in awaited]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    errors = [error for task in tasks if task.done() and (error := task.exception()) is not None]
    if errors:
        raise errors[0]
