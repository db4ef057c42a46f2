"""Processes that the server starts, and the channel to them.

They come from a fork server: a plain fork would copy locks that other threads hold. They end when the server ends, in
whatever way, and leave signals to it.
"""

import asyncio
import gc
import multiprocessing
import os
import pickle
import signal
import socket
import struct
import sys
import threading
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext
from typing import Any, Self

_SPINS = "20000"  # about 0.3 ms that OpenMP's threads spin between operations; the default is 16 ms
_PRELOADED = (  # imported once for all children; checks and worker import torch
    "service.publishing.checker",
    "service.publishing.checks",
    "service.engine.process",
    "service.engine.worker",
)
_DIE_WITH_PARENT = "service.processes.die_with_parent"  # its parent is a thread: only the main thread lasts
_SIZE = struct.Struct("!Q")


def context() -> ForkServerContext:
    """Return the multiprocessing context for child processes. Their target calls `begin` first."""
    os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)  # read when torch is imported
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(list(_PRELOADED))
    return made


def start_early() -> None:
    """Start the fork server, which imports what children need while this process still does its own imports.

    Call it in the main thread. A terminal sends Ctrl-C to every process; the fork server inherits a mask against it.
    """
    context().set_forkserver_preload([_DIE_WITH_PARENT, *_PRELOADED])
    sys.warnoptions.append("ignore:resource_tracker")  # inherited: a start that a signal ends leaves semaphores behind
    resource_tracker.ensure_running()  # before the mask is set: it unblocks SIGINT
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


def begin(nice: int = 0) -> None:
    """Prepare a child process: ignore signals, end with the server, and lower the priority by `nice`.

    Garbage collection leaves alone what the fork server has imported: it would write to each object, and so copy the
    memory that all children share.
    """
    gc.freeze()
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the whole group; the server ends its children itself
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    os.nice(nice)


def _end_with_the_server() -> None:
    server = multiprocessing.parent_process()
    assert server is not None
    server.join()  # returns however the server ends
    os._exit(1)


class Channel:
    """Pickled messages over a socket pair, between processes that trust each other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, end: socket.socket) -> Self:
        """Take over one end of a socket pair."""
        end.setblocking(False)
        return cls(*await asyncio.open_unix_connection(sock=end))

    def send(self, message: object) -> None:
        """Queue a message, without waiting. Messages arrive in order."""
        data = pickle.dumps(message, protocol=5)
        self._writer.write(_SIZE.pack(len(data)))
        self._writer.write(data)

    async def receive(self) -> Any:
        """Return the next message. Raises EOFError when the other end is closed."""
        try:
            (size,) = _SIZE.unpack(await self._reader.readexactly(_SIZE.size))
            return pickle.loads(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise EOFError from error

    def close(self) -> None:
        """Close this end once everything is sent."""
        self._writer.close()
