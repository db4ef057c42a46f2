"""HttpSlot: one HTTP process of a server, and every later one that takes its place."""

import asyncio
import logging
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from service.engine_process.places import metrics_in
from service.errors import EngineDied
from service.processes.child import ChildProcess, fork_server_end
from service.processes.exhausted import explain
from service.server.messages import Alive, Begin, Drain, Listening, StartFailed
from service.settings import Settings

HANG_S = 15.0  # without a sign of life, an HTTP process is ended
START_S = 60.0  # until it listens, from the message that it shall serve
RESTART_S, MAX_RESTART_S = 0.1, 5.0  # before an HTTP process is replaced; doubled for each one that never listened

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
        self._asked_at: float | None = None  # when the process was asked to serve

    async def keep(self) -> None:
        """Keep a process running until `drain`. The first one that cannot start fails `listening`."""
        restart_s = RESTART_S
        while self._drain is None:
            self._seen_at = self._asked_at = None
            cause = await self._run_one()
            if self._drain is not None or (self.listening.done() and self.listening.exception() is not None):
                return
            if not self.listening.done():
                return self.listening.set_exception(EngineDied(f"{cause} before it could listen"))
            restart_s = RESTART_S if self._seen_at is not None else min(2 * restart_s, MAX_RESTART_S)
            await asyncio.sleep(restart_s)
            if fork_server_end() is not None:  # it has ended the engine process as well, and so the whole server
                return
            logger.error("%s: another one takes its place", cause)

    async def _run_one(self) -> str:
        """Run a process to its end, and return how it has ended."""
        try:
            child = await ChildProcess.start(
                _run_http, self._settings, self._folder, self.sockets, name="http", handle=self._handle
            )
        except (OSError, EOFError, RuntimeError) as error:  # no process or memory is left, or no fork server
            reason = explain(error) or f"{type(error).__name__}: {error}"
            return f"an HTTP process could not be started ({reason})"
        self._child = child
        self._asked_at = None if self._begin is None else time.monotonic()
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
            self._asked_at = time.monotonic()
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
        """Kill a process without a sign of life for HANG_S, or that does not listen in START_S; `now` is monotonic."""
        if self._child is None:
            return
        if self._seen_at is not None and now - self._seen_at > HANG_S:
            logger.error("HTTP process %d hangs: no sign of life for %g s", self._child.pid, HANG_S)
            self._seen_at = now
            self._child.kill()
        elif self._seen_at is None and self._asked_at is not None and now - self._asked_at > START_S:
            logger.error("HTTP process %d hangs: it has not listened within %g s", self._child.pid, START_S)
            self._asked_at = None
            self._child.kill()

    def forgive(self, seconds: float) -> None:
        """Ignore the last `seconds`, in which the supervisor did not run either."""
        if self._seen_at is not None:
            self._seen_at += seconds
        if self._asked_at is not None:
            self._asked_at += seconds

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


def _run_http(end: socket.socket, settings: Settings, folder: Path, sockets: Sequence[Sequence[socket.socket]]) -> None:
    from service.server.http_process import run_http  # imports FastAPI, which the supervisor does not need

    run_http(end, settings, folder, sockets)
