"""Importing this module makes Linux kill the process as soon as its parent ends, even in the middle of imports.

The fork server imports it first. Processes that it forks do not inherit this and call `die_with_parent` themselves.
Other systems have no such call; a fork server notices there, once its imports are done, that its parent has ended.
"""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have Linux kill this process as soon as its parent ends, also while it is stopped or holds the interpreter."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


die_with_parent()
