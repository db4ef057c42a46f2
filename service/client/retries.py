"""When to send a call again, and how long to wait before."""

import random
import time
from dataclasses import dataclass

from .errors import AdaKronError, Overloaded, TimedOut, Unavailable, Unreachable

_RETRIED = (Overloaded, Unavailable, Unreachable)


@dataclass(frozen=True, slots=True)
class Retries:
    """Exponential backoff with full jitter.

    After the n-th failure wait a random time from 0 to `base_s` x 2^(n-1), at most `max_s`, plus the Retry-After of the
    answer.
    """

    max_attempts: int = 6  # including the first one; 1 disables retries
    base_s: float = 0.1
    max_s: float = 5.0


DEFAULT_RETRIES = Retries()


class Attempts:
    """The attempts of one call, which takes at most `total_s` seconds; a call that is not `repeatable` gets one."""

    def __init__(self, retries: Retries, total_s: float, repeatable: bool = True) -> None:
        self._retries, self._total_s = retries, total_s
        self._end = time.monotonic() + total_s
        self._max_attempts = retries.max_attempts if repeatable else 1
        self._num_failed = 0

    @property
    def left_s(self) -> float:
        """Seconds for the next attempt. Raises TimedOut if the time of the call is used up."""
        left_s = self._end - time.monotonic()
        if left_s <= 0:
            raise self.timed_out()
        return left_s

    def timed_out(self) -> TimedOut:
        """Return the error to raise when the time of the call is used up."""
        return TimedOut(f"no answer within {self._total_s:g} s")

    def wait_s(self, error: AdaKronError) -> float:
        """Seconds to wait before the next attempt. Raises `error` if there is none."""
        self._num_failed += 1
        if not isinstance(error, _RETRIED) or self._num_failed >= self._max_attempts:
            raise error
        most_s = min(self._retries.max_s, self._retries.base_s * 2 ** (self._num_failed - 1))
        wait_s = random.uniform(0, most_s) + (getattr(error, "retry_after_s", None) or 0.0)
        if time.monotonic() + wait_s >= self._end:
            raise error
        return wait_s
