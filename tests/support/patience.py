"""The registry's time limits, ten times as long: beside other tests a database may be slow to answer."""

from service.registry import blobs, database, deadline, follower, listener, sqlite
from service.registry.store import Registry
from service.registry.time_limit import CALL_TIMEOUT_S

TIMES = 10


def be_patient() -> None:
    """In this process, from now on. Tests that are about these limits are marked `alone` and never see it."""
    for function in (database.reading, database.locking):
        function.__wrapped__.__defaults__ = (TIMES * CALL_TIMEOUT_S,)  # type: ignore[attr-defined]
    Registry.snapshot.__defaults__ = (TIMES * CALL_TIMEOUT_S,)
    for module in (blobs, follower, listener, sqlite):
        module.CALL_TIMEOUT_S = TIMES * CALL_TIMEOUT_S
    deadline.ANSWER_TIMEOUT_S *= TIMES
