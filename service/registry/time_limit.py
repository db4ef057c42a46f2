"""The time that one call of the registry may take, known to everything that waits on its behalf."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

CALL_TIMEOUT_S = 1.5  # of every call but migrations, backups and a server's first look

# Each thread has its own value, and only `time_limit` sets it.
_ends_at: ContextVar[float] = ContextVar("ends_at", default=math.inf)


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Inside it `time_left` counts down from `seconds` (None: no limit); an outer limit that ends sooner stays."""
    ends_at = math.inf if seconds is None else time.monotonic() + seconds
    token = _ends_at.set(min(ends_at, _ends_at.get()))
    try:
        yield
    finally:
        _ends_at.reset(token)


def time_left() -> float:
    """Seconds until the limit; infinite where there is none, never below 0."""
    return max(0.0, _ends_at.get() - time.monotonic())
