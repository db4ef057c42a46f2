"""Importing this module makes Linux kill the process as soon as its parent ends, even in the middle of imports.

The fork server imports it first. Processes that it forks do not inherit this: `child.begin` watches the server there.
Other systems have no such call; a fork server notices there, once its imports are done, that its parent has ended.
"""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1

if sys.platform == "linux":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
