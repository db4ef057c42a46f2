"""Fair timings of several functions in one process: by turns, alone on the machine, and medians."""

import contextlib
import fcntl
import os
import random
import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)
_REST_S = 0.003  # the threads of the one before have stopped spinning then
_PRIORITY = 10


@contextlib.contextmanager
def alone(lock: Path | None) -> Iterator[None]:
    """Hold the lock, and stand before all ordinary processes where the system lets us; without a lock: just run."""
    if lock is None:
        yield
        return
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        _schedule(os.SCHED_RR, _PRIORITY)
        try:
            yield
        finally:
            _schedule(os.SCHED_OTHER, 0)


def _schedule(policy: int, priority: int) -> None:
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.sched_setscheduler(int(thread), policy, os.sched_param(priority))


def by_turns(
    functions: dict[str, Callable[[Name], object]], cases: Sequence[Name], budget_s: float
) -> dict[tuple[str, Name], list[float]]:
    """Seconds of every function on every case, in rounds until the budget is spent.

    A case may be listed more than once. In each round the order of functions and of cases is another one, and each
    function's first call is not counted.
    """
    seconds: dict[tuple[str, Name], list[float]] = {(name, case): [] for name in functions for case in cases}
    names, order, generator = list(functions), list(cases), random.Random(0)
    ends = time.perf_counter() + budget_s
    while time.perf_counter() < ends:
        generator.shuffle(names)
        for name in names:
            generator.shuffle(order)
            time.sleep(_REST_S)
            functions[name](min(cases))  # type: ignore[type-var]
            for case in order:
                seconds[name, case].append(elapsed(functions[name], case))
    return seconds


def elapsed(function: Callable[[Name], object], case: Name) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    function(case)
    return time.perf_counter() - started


def median_ms(seconds: Sequence[float]) -> float:
    """In milliseconds."""
    return round(1000 * statistics.median(seconds), 3)
