"""Processes that the server starts: from a fork server, since fork alone would copy locks that other threads hold.

They end with the server, however that ends, and signals are the server's business.
"""

import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext

_SPINS = "20000"  # some 0.3 ms: OpenMP's members turn so long for the next operation, by default 16 ms after the last
# torch is imported once, for all
_PRELOADED = ("service.publishing.checker", "service.engine.process", "service.processes.frozen")
_WITH_THE_SERVER = "service.processes.with_the_server"  # imported before these, where the main thread starts it


def context() -> ForkServerContext:
    """What such processes are made with; what they run calls `begin` first."""
    os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)  # which is read where torch is imported
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(list(_PRELOADED))
    return made


def start_early() -> None:
    """Let the fork server import what its processes need while this one still imports what it needs itself.

    The main thread calls this. Ctrl-C goes to every process of a terminal; only this one has an answer to it.
    """
    context().set_forkserver_preload([_WITH_THE_SERVER, *_PRELOADED])
    sys.warnoptions.append("ignore:resource_tracker")  # it inherits that: a start that a signal ends leaves semaphores
    resource_tracker.ensure_running()  # before, since it unblocks SIGINT
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # which the fork server inherits
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


def begin(nice: int = 0) -> None:
    """Settle in, with a priority lowered by `nice`."""
    for number in (signal.SIGINT, signal.SIGTERM):  # of the whole group: the server answers what it has, then ends this
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    os.nice(nice)


def _end_with_the_server() -> None:
    server = multiprocessing.parent_process()
    assert server is not None
    server.join()  # returns however it ended
    os._exit(1)
