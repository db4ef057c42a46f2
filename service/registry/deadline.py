"""Time limits: of one call to the registry, and of a request that waits for such calls."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

from service.errors import RegistryUnavailable, ServiceError

CALL_TIMEOUT_S = 1.5  # default of a call; migrations, backups and a server's first snapshot take longer
ANSWER_TIMEOUT_S = 1.8  # all calls of one request, which is answered within 2 s

_ends_at: ContextVar[float] = ContextVar("ends_at", default=math.inf)  # by thread; set by `call_deadline` alone


@contextmanager
def call_deadline(seconds: float | None = None) -> Iterator[None]:
    """Let `time_left` count down from `seconds` (None: CALL_TIMEOUT_S). An outer deadline that ends sooner stays."""
    ends_at = time.monotonic() + (CALL_TIMEOUT_S if seconds is None else seconds)
    token = _ends_at.set(min(ends_at, _ends_at.get()))
    try:
        yield
    finally:
        _ends_at.reset(token)


def time_left() -> float:
    """Return the seconds until the deadline of this thread's call, at least 0; infinity outside of any call."""
    return max(0.0, _ends_at.get() - time.monotonic())


@asynccontextmanager
async def answer_deadline(find_cause: Callable[[], ServiceError | None] = lambda: None) -> AsyncIterator[None]:
    """Limit the registry calls of one request to ANSWER_TIMEOUT_S.

    When it has passed, raises the error that `find_cause` returns, RegistryUnavailable if that returns None.
    """
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            yield
    except TimeoutError:
        raise find_cause() or RegistryUnavailable(
            f"the registry's database did not answer within {ANSWER_TIMEOUT_S:g} s; "
            "a requested change may have been made: check before you repeat it"
        ) from None
