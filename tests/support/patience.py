"""Lengthen the registry's time limits tenfold: beside other tests a database may be slow to answer."""

from service.registry import deadline, sqlite

TIMES = 10


def be_patient() -> None:
    """Lengthen the limits in this process. Tests of these limits are marked `alone` and run in another one."""
    sqlite.CALL_TIMEOUT_S *= TIMES
    deadline.CALL_TIMEOUT_S *= TIMES
    deadline.ANSWER_TIMEOUT_S *= TIMES
