"""Lengthen the registry's time limits tenfold: beside other tests a database may be slow to answer."""

from service.registry import deadline, postgres, sqlite

TIMES = 10


def be_patient() -> None:
    """Lengthen the limits in this process. Tests of these limits are marked `alone` and run in another one."""
    sqlite.CALL_TIMEOUT_S *= TIMES
    deadline.CALL_TIMEOUT_S *= TIMES
    deadline.ANSWER_TIMEOUT_S *= TIMES
    # PgBouncer answers its first client only when it has a session of the server, which may take longer than 2 s.
    postgres.PARAMETERS["connect_timeout"] = str(TIMES * int(postgres.PARAMETERS["connect_timeout"]))
