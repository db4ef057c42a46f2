"""Signals while a command starts: the process exits at once, without a traceback.

Python's default raises an exception in the middle of an import: modules stay half imported, and libraries turn the
exception into errors of their own.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_at_once(*signals: signal.Signals) -> Iterator[None]:
    """Let each of `signals` exit with the status that shells use for it: 130 for Ctrl-C.

    A handler is needed because the kernel ignores the default action for process 1, the server in a container.
    """
    before = {number: signal.signal(number, _stop) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)
