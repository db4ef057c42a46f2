"""The end of a fork server with its server. The fork server imports this module before all others.

Importing it makes Linux kill the process as soon as its parent ends, even in the middle of imports. Processes that the
fork server forks do not inherit this and call `die_with_parent` themselves. Other systems have no such call; a fork
server notices there, once its imports are done, that its parent has ended.

A server may end while it starts a process. Then the order that the fork server or the new process reads is cut short:
that process ends too, and prints no traceback.
"""

import ctypes
import errno
import signal
import sys
from pickle import UnpicklingError
from types import TracebackType

from service.processes.exhausted import explain

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have Linux kill this process as soon as its parent ends, also while it is stopped or holds the interpreter."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _show_error(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Print an error, unless it is the end of an order. Not called for errors in a child's target."""
    is_cut = isinstance(error, EOFError) or (isinstance(error, UnpicklingError) and "truncated" in str(error))
    if isinstance(error, OSError) and error.errno in (errno.EAGAIN, errno.ENOMEM):  # no further process may start
        sys.stderr.write(f"error: the fork server cannot start a process: {explain(error)}\n")
    elif not is_cut:
        sys.__excepthook__(kind, error, traceback)


die_with_parent()
sys.excepthook = _show_error
