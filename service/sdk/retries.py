"""Retries: when to try again, and how long to wait before. Predictions change nothing, so any may be sent twice."""

import random
import time
from dataclasses import dataclass

from service.sdk.errors import AdaKronError, Overloaded, TimedOut, Unavailable, Unreachable

_WORTH_IT = (Overloaded, Unavailable, Unreachable)


@dataclass(frozen=True, slots=True)
class Retries:
    """Wait a random time from 0 to `base_s` x 2^n, at most `max_s`, after the n-th failure (full jitter); where the
    server says how long, so much longer."""

    max_attempts: int = 6  # the first one included; 1: never again
    base_s: float = 0.1
    max_s: float = 5.0


DEFAULT_RETRIES = Retries()


class Attempts:
    """Of one call, which must be over in `total_s` seconds."""

    def __init__(self, retries: Retries, total_s: float) -> None:
        self._retries, self._total_s = retries, total_s
        self._end = time.monotonic() + total_s
        self._num_failed = 0

    @property
    def left_s(self) -> float:
        """Seconds for the next attempt. Raises TimedOut where there are none."""
        left_s = self._end - time.monotonic()
        if left_s <= 0:
            raise self.timed_out()
        return left_s

    def timed_out(self) -> TimedOut:
        """To be raised where the time is over."""
        return TimedOut(f"no answer within {self._total_s:g} s")

    def wait_s(self, error: AdaKronError) -> float:
        """Seconds to wait before the next attempt. Raises `error` where there shall be none."""
        self._num_failed += 1
        if not isinstance(error, _WORTH_IT) or self._num_failed >= self._retries.max_attempts:
            raise error
        most_s = min(self._retries.max_s, self._retries.base_s * 2 ** (self._num_failed - 1))
        wait_s = random.uniform(0, most_s) + (getattr(error, "retry_after_s", None) or 0.0)
        if time.monotonic() + wait_s >= self._end:
            raise error
        return wait_s
