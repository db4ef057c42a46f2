"""Signals while a command starts: it ends at once, without a traceback.

Python's own way, an exception in the middle of whatever runs, leaves half-imported modules behind, and libraries turn
it into errors of their own.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_at_once(*signals: signal.Signals) -> Iterator[None]:
    """While inside, each of `signals` ends the process with the status that shells give it: 130 for Ctrl-C.

    A handler, not the system's default: the kernel ignores that for process 1, which is the server in a container.
    """
    before = {number: signal.signal(number, _stop) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)
