"""Imported first by the fork server: on Linux it is killed when the server ends, even in the middle of its imports.

Elsewhere it notices when it has imported everything. The processes that it forks look after themselves.
"""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1

if sys.platform == "linux":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
