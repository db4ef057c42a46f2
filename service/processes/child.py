"""Processes that the server starts.

They come from a fork server: a plain fork would copy locks that other threads hold. They end when the server ends, in
whatever way, and leave signals to it.
"""

import asyncio
import contextlib
import gc
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self

from service.processes.channel import Channel

_SPINS = "20000"  # about 0.3 ms that OpenMP's threads spin between operations; the default is 16 ms
_PRELOADED = (  # imported once for all children; checks and worker import torch, http_process FastAPI
    "service.publishing.checker",
    "service.publishing.checks",
    "service.engine_process.run",
    "service.engine.worker",
    "service.server.http_process",
)
_OF_THE_GROUP = (signal.SIGINT, signal.SIGTERM)  # often sent to all processes of a group
_FORK_SERVER = "service.processes.fork_server"  # ends with its parent, a thread: only the main thread lasts


def context() -> ForkServerContext:
    """Return the multiprocessing context for child processes. Their target calls `begin` first."""
    os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)  # read when torch is imported
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(list(_PRELOADED))
    return made


def start_early() -> None:
    """Start the fork server, which imports what children need while this process still does its own imports.

    Call it in the main thread. A terminal sends Ctrl-C to every process, `timeout` SIGTERM: the fork server inherits a
    mask against both.
    """
    context().set_forkserver_preload([_FORK_SERVER, *_PRELOADED])
    sys.warnoptions.append("ignore:resource_tracker")  # inherited: a start that a signal ends leaves semaphores behind
    resource_tracker.ensure_running()  # before the mask is set: it unblocks SIGINT
    signal.pthread_sigmask(signal.SIG_BLOCK, _OF_THE_GROUP)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _OF_THE_GROUP)


def fork_server_place() -> dict[str, Any]:
    """Return what `share_fork_server` needs, in the process that has started the fork server."""
    names = "_forkserver_address", "_forkserver_authkey"  # the latter from Python 3.14 on
    return {name: getattr(forkserver._forkserver, name) for name in names if hasattr(forkserver._forkserver, name)}


def fork_server_end() -> str | None:
    """Return how the fork server has ended, which ends all processes that come from it; None while it runs.

    For the process that has started it.
    """
    try:
        pid = getattr(forkserver._forkserver, "_forkserver_pid", None) or 0
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except (AttributeError, OSError):  # a system without waitid, or no such child
        return None
    if found is None:
        return None
    exited = found.si_code == os.CLD_EXITED
    cause = _exit_cause(found.si_status if exited else -found.si_status)
    return (
        f"the fork server has ended ({cause}), and with it every process of this server: after a SIGKILL the kernel's "
        "log says if memory was short"
    )


def share_fork_server(place: dict[str, Any]) -> None:
    """Have this child's own children come from the fork server that it comes from: a second one would import all again.

    multiprocessing intends this, but a child does not learn the address.
    """
    for name, value in place.items():
        setattr(forkserver._forkserver, name, value)
    forkserver._forkserver.ensure_running = resource_tracker.ensure_running  # type: ignore[method-assign]


def begin(name: str, nice: int = 0) -> None:
    """Prepare a child process: ignore signals, end with the server, and lower the priority by `nice`.

    A process that is stopped, or hangs in a library that holds the interpreter, ends with the server on Linux only: the
    fork server, its parent, ends with the server, and the kernel ends it then. Elsewhere a thread must notice.

    Tools that list processes show it as adakron-`name`, in at most 15 characters.

    Garbage collection leaves alone what the fork server has imported: it would write to each object, and so copy the
    memory that all children share.
    """
    from service.processes.fork_server import die_with_parent  # not in the server: importing it sets this there

    gc.freeze()
    die_with_parent()
    with contextlib.suppress(OSError):  # a system without /proc
        Path("/proc/self/comm").write_text(f"adakron-{name}")
    for number in _OF_THE_GROUP:  # the server ends its children itself
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    os.nice(nice)


def _end_with_the_server() -> None:
    server = multiprocessing.parent_process()
    assert server is not None
    server.join()  # returns however the server ends
    os._exit(1)


class ChildProcess:
    """A process that talks with this one over a Channel. Owned by the event loop."""

    def __init__(self, process: BaseProcess, channel: Channel, ended: asyncio.Event) -> None:
        self._process, self._channel, self.ended = process, channel, ended
        assert process.pid is not None
        self.pid = process.pid

    @classmethod
    async def start(
        cls, run: Callable[..., None], *arguments: object, name: str, handle: Callable[[Any], None]
    ) -> Self:
        """Start a process that calls `run(end, *arguments)`: `end` is its end of a socket pair for its Channel.

        `handle(message)` is called for each of its messages.
        """
        ours, theirs = socket.socketpair()
        process = context().Process(target=run, args=(theirs, *arguments), name=name)
        with theirs:
            await asyncio.to_thread(process.start)
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        channel = await Channel.connect(ours, handle, lambda: None)

        def end() -> None:
            loop.remove_reader(process.sentinel)
            ended.set()

        loop.add_reader(process.sentinel, end)
        return cls(process, channel, ended)

    def send(self, message: object) -> None:
        """Send a message without waiting; a process that has ended does not get it."""
        self._channel.send(message)

    def kill(self) -> None:
        """End the process at once, unless it has ended: another one may have its number."""
        if not self.ended.is_set():
            self._process.kill()

    async def join(self, timeout_s: float) -> None:
        """Close the channel, which ends a process that serves it, and kill the process if it has not ended by then."""
        self._channel.close()
        try:
            async with asyncio.timeout(timeout_s):
                await self.ended.wait()  # returns at once if it has ended, even without a timeout
        except TimeoutError:
            self.kill()
            await self.ended.wait()
        await asyncio.to_thread(self._process.join)

    @property
    def exit_cause(self) -> str:
        """How the process has ended, for the log."""
        return _exit_cause(self._process.exitcode)


def _exit_cause(code: int | None) -> str:
    """Return an exit code as multiprocessing gives it, the negative of a signal, for the log."""
    if code is not None and code < 0:
        return signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
    return f"status {code}"
