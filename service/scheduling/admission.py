"""Admission: a permit for each request before any work is done for it, or a refusal with an honest time to wait.

Owned by the event loop. A request is judged by what stands before it, never by its own size, so that one of many
inputs and one of a single input obey the same rule. A task may hold as much as is left free, so that whatever one
task sends there is room for the others (dynamic thresholds, Choudhury and Hahne 1998).
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from service.core import TURN_TOKENS, Permit, RejectionReason
from service.errors import DeadlineExceeded, InvalidInput, Overloaded, ShuttingDown
from service.scheduling.throughput import ThroughputEstimator

_PREDICTABLE = 0.75  # of the time that a request has left may be taken by what is predicted


@dataclass(frozen=True)
class Bounds:
    """What may wait."""

    max_requests: int  # admitted, not yet answered
    max_tokens: int  # admitted, not yet computed
    max_wait_s: float  # predicted, from a permit to the answer


@dataclass(slots=True)
class _Held:
    """By one task."""

    weight: float
    num_requests: int = 0
    num_tokens: int = 0


class Admission:
    """Gives permits. `weight(task)` as in FairQueue; `clock` gives the seconds that deadlines are in."""

    def __init__(
        self,
        bounds: Bounds,
        throughput: ThroughputEstimator,
        *,
        weight: Callable[[str], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bounds, self._throughput, self._weight, self._clock = bounds, throughput, weight, clock
        self._held: dict[str, _Held] = {}  # by tasks that have a permit
        self.num_requests = 0
        self.num_tokens = 0
        self.closing = False

    def check(self, task: str, deadline: float, *, beside: int = 0) -> None:
        """Return where a request of `task` would get a permit now, though it holds `beside` tokens by other permits.

        Raises Overloaded; ShuttingDown; DeadlineExceeded where `deadline` (the clock's seconds) is over.
        """
        if self.closing:
            raise ShuttingDown("the server is shutting down")
        bounds, held = self._bounds, self._held.get(task)
        num_requests = held.num_requests if held else 0
        free = bounds.max_requests - self.num_requests
        if free < max(1, num_requests):
            what = f"{self.num_requests} requests are waiting already"
            raise _overloaded(what, self._drain_s(task), reason="queued_requests")
        self._check_tokens(task, held.num_tokens if held else 0, deadline, beside)

    def admit(self, task: str, deadline: float, *, beside: int = 0) -> Permit:
        """A permit, to be released when the request is answered. Raises what `check` raises."""
        self.check(task, deadline, beside=beside)
        held = self._held.get(task)
        if held is None:
            held = self._held[task] = _Held(self._weight(task))
        held.num_requests += 1
        self.num_requests += 1
        return Permit(task, deadline)

    def reserve(self, permit: Permit, most_tokens: int, *, beside: int = 0) -> None:
        """Hold `most_tokens` for the request, before it is tokenised; `beside` as in `check`.

        Raises what `check` raises, and InvalidInput for a request that could never be held.
        """
        if most_tokens > self._bounds.max_tokens:
            raise InvalidInput(
                f"the inputs may have {most_tokens} tokens, and at most {self._bounds.max_tokens} may wait "
                "(ADAKRON_MAX_QUEUED_TOKENS): send fewer at a time"
            )
        held = self._held[permit.task]
        self._check_tokens(permit.task, held.num_tokens, permit.deadline, beside)
        self._hold(permit, most_tokens)

    def tokenised(self, permit: Permit, num_tokens: int) -> None:
        """Hold what the request has in truth."""
        self._hold(permit, num_tokens - permit.num_tokens)

    def computed(self, permit: Permit, num_tokens: int) -> None:
        """So many of them wait no longer."""
        self._hold(permit, -min(num_tokens, permit.num_tokens))

    def release(self, permit: Permit) -> None:
        """The request is answered, in whatever way."""
        self._hold(permit, -permit.num_tokens)
        held = self._held[permit.task]
        held.num_requests -= 1
        self.num_requests -= 1
        if held.num_requests == 0:
            del self._held[permit.task]

    def _hold(self, permit: Permit, num_tokens: int) -> None:
        if num_tokens:
            permit.num_tokens += num_tokens
            self._held[permit.task].num_tokens += num_tokens
            self.num_tokens += num_tokens

    def _check_tokens(self, task: str, num_tokens: int, deadline: float, beside: int) -> None:
        if self.num_tokens + max(1, num_tokens) > self._bounds.max_tokens:
            what = f"{self.num_tokens} tokens are waiting already"
            raise _overloaded(what, self._drain_s(task), reason="queued_tokens")
        left_s = deadline - self._clock()
        if left_s <= 0:
            raise DeadlineExceeded("the time for this request is over")
        tokens_per_s = self._throughput.assumed_tokens_per_s
        limit_s = min(left_s * _PREDICTABLE, self._bounds.max_wait_s)
        before = self.num_tokens - beside  # a request does not wait for itself
        batch = min(before, self._throughput.batch_tokens)
        if (before + batch) / tokens_per_s <= limit_s:
            return
        wait_s = (min(before, 2 * batch + self._tokens_before(task, num_tokens)) + batch) / tokens_per_s
        if wait_s > limit_s:
            what = f"an answer would take {wait_s:.1f} s"
            if limit_s == self._bounds.max_wait_s:
                raise _overloaded(what, wait_s - limit_s, reason="predicted_latency")
            raise _overloaded(what, wait_s - limit_s, reason="deadline")

    def _tokens_before(self, task: str, num_tokens: int) -> float:
        """What fairness puts before another request of `task`: of each task what it holds, but by weight no more than
        `task` holds and a turn."""
        own = self._held.get(task)
        share = (num_tokens + TURN_TOKENS) / (own.weight if own else self._weight(task))
        return sum(min(held.num_tokens, share * held.weight) for held in self._held.values())

    def _drain_s(self, task: str) -> float:
        """Seconds until the task may hold one more, at the measured rate."""
        if self.num_requests == 0:
            return 0.0
        held = self._held.get(task)
        own_requests, own_tokens = (held.num_requests, held.num_tokens) if held else (0, 0)
        requests_over = self.num_requests + max(1, own_requests) - self._bounds.max_requests
        tokens_over = self.num_tokens + max(1, own_tokens) - self._bounds.max_tokens
        tokens = max(tokens_over, requests_over * self.num_tokens / self.num_requests)
        return tokens / self._throughput.assumed_tokens_per_s


def _overloaded(what: str, room_in_s: float, reason: RejectionReason) -> Overloaded:
    retry_after_s = max(1, math.ceil(room_in_s))
    return Overloaded(f"{what}: try again in {retry_after_s} s", retry_after_s, reason)
