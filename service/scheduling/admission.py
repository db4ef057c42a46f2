"""Admission: gives each request a permit before any work is done for it, or refuses it with an honest time to wait.

Owned by the event loop. A request is judged by what is queued before it, never by its own size, so that a request of
many inputs and one of a single input obey the same rule. A task may hold at most as much as is left free, so that no
task can take the room of the others (dynamic thresholds, Choudhury and Hahne 1998).
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from service.core import TURN_TOKENS, Permit, RejectionReason
from service.errors import DeadlineExceeded, InvalidInput, Overloaded, ShuttingDown

_PREDICTABLE = 0.75  # admitted only if the predicted time is at most this share of the time left


@dataclass(frozen=True)
class Bounds:
    """Limits of the queue."""

    max_requests: int  # admitted, not yet answered
    max_tokens: int  # admitted, not yet computed
    max_wait_s: float  # predicted, from a permit to the answer


class Speed(Protocol):
    """The part of a ThroughputEstimator that admission reads."""

    @property
    def assumed_tokens_per_s(self) -> float: ...
    @property
    def batch_tokens(self) -> int: ...


@dataclass(slots=True)
class Held:
    """Requests and tokens that one task holds by its permits."""

    weight: float
    num_requests: int = 0
    num_tokens: int = 0


@dataclass(frozen=True, slots=True)
class AdmissionState:
    """The numbers by which `check` decides, to be read in another process."""

    closing: bool
    num_requests: int
    num_tokens: int
    assumed_tokens_per_s: float
    batch_tokens: int
    held: dict[str, tuple[float, int, int]]  # by task: weight, requests, tokens
    refused_at: float = field(default=-math.inf, compare=False)  # last time that one was refused, monotonic seconds

    def limited_to(self, num_tasks: int) -> "AdmissionState":
        """Return the state with those tasks only that hold the most tokens."""
        if len(self.held) <= num_tasks:
            return self
        most = sorted(self.held.items(), key=lambda item: item[1][2], reverse=True)[:num_tasks]
        return replace(self, held=dict(most))


class Admission:
    """Gives permits. `weight(task)` is FairQueue's; deadlines are seconds of `clock`."""

    def __init__(
        self,
        bounds: Bounds,
        throughput: Speed,
        *,
        weight: Callable[[str], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bounds, self._throughput, self._weight, self._clock = bounds, throughput, weight, clock
        self._held: dict[str, Held] = {}  # by task; only tasks with a permit
        self.num_requests = 0
        self.num_tokens = 0
        self.closing = False
        self.refused_at = -math.inf  # last time that a permit or tokens were refused for the load, by `clock`

    def state(self) -> AdmissionState:
        """Return a copy of the numbers by which `check` decides."""
        speed = self._throughput
        held = {task: (one.weight, one.num_requests, one.num_tokens) for task, one in self._held.items()}
        numbers = self.num_requests, self.num_tokens, speed.assumed_tokens_per_s, speed.batch_tokens
        return AdmissionState(self.closing, *numbers, held, self.refused_at)

    def check(self, task: str, deadline: float, *, beside: int = 0) -> None:
        """Raise what `admit` would raise now. `beside`: tokens that the same request holds by other permits.

        Raises Overloaded when a bound is exhausted or the answer would come too late, ShuttingDown, and
        DeadlineExceeded when `deadline` has passed.
        """
        if self.closing:
            raise ShuttingDown("the server is shutting down")
        bounds, held = self._bounds, self._find(task)
        num_requests = held.num_requests if held else 0
        free = bounds.max_requests - self.num_requests
        if free < max(1, num_requests):
            what = f"{self.num_requests} requests are waiting already"
            raise _overloaded(what, self._drain_s(task), reason="queued_requests")
        self._check_tokens(task, held, deadline, beside)

    def admit(self, task: str, deadline: float, *, beside: int = 0) -> Permit:
        """Give a permit, to be released when the request is answered. Raises what `check` raises."""
        try:
            self.check(task, deadline, beside=beside)
        except Overloaded:
            self.refused_at = self._clock()
            raise
        held = self._held.get(task)
        if held is None:
            held = self._held[task] = Held(self._weight(task))
        held.num_requests += 1
        self.num_requests += 1
        return Permit(task, deadline)

    def reserve(self, permit: Permit, most_tokens: int, *, beside: int = 0) -> None:
        """Hold the most tokens that the request can have, before it is tokenized; `beside` as in `check`.

        Raises what `check` raises, and InvalidInput when the request is larger than the whole queue may be.
        """
        if most_tokens > self._bounds.max_tokens:
            raise InvalidInput(
                f"the inputs may have {most_tokens} tokens, and at most {self._bounds.max_tokens} may wait "
                "(ADAKRON_MAX_QUEUED_TOKENS): send fewer at a time"
            )
        held = self._held[permit.task]
        try:
            self._check_tokens(permit.task, held, permit.deadline, beside)
        except Overloaded:
            self.refused_at = self._clock()
            raise
        self._hold(permit, most_tokens)

    def set_num_tokens(self, permit: Permit, num_tokens: int) -> None:
        """Replace the reservation by the number of tokens that the request really has."""
        self._hold(permit, num_tokens - permit.num_tokens)

    def give_back(self, permit: Permit, num_tokens: int) -> None:
        """Give back tokens of the permit that were computed."""
        self._hold(permit, -min(num_tokens, permit.num_tokens))

    def release(self, permit: Permit) -> None:
        """Take back the permit of a request that is answered, abandoned or refused."""
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

    def _find(self, task: str) -> Held | None:
        """Return the requests and tokens of a task; None if it has no permit."""
        return self._held.get(task)

    def _check_tokens(self, task: str, held: Held | None, deadline: float, beside: int) -> None:
        if self.num_tokens + max(1, held.num_tokens if held else 0) > self._bounds.max_tokens:
            what = f"{self.num_tokens} tokens are waiting already"
            raise _overloaded(what, self._drain_s(task), reason="queued_tokens")
        left_s = deadline - self._clock()
        if left_s <= 0:
            raise DeadlineExceeded("the deadline of this request has passed")
        tokens_per_s = self._throughput.assumed_tokens_per_s
        limit_s = min(left_s * _PREDICTABLE, self._bounds.max_wait_s)
        before = self.num_tokens - beside  # a request does not wait for its own tokens
        batch = min(before, self._throughput.batch_tokens)
        if (before + batch) / tokens_per_s <= limit_s:
            return
        wait_s = (min(before, 2 * batch + self._tokens_before(task, held)) + batch) / tokens_per_s
        if wait_s > limit_s:
            what = f"an answer would take {wait_s:.1f} s"
            if limit_s == self._bounds.max_wait_s:
                raise _overloaded(what, wait_s - limit_s, reason="predicted_latency")
            raise _overloaded(what, wait_s - limit_s, reason="deadline")

    def _tokens_before(self, task: str, held: Held | None) -> float:
        """Return the tokens that the fair queue serves before another request of `task`.

        Each task counts with the tokens that it holds, at most with the share that the weights give it while the
        queue serves the tokens of `task` and one turn more.
        """
        share = self._share(task, held)
        return sum(min(one.num_tokens, share * one.weight) for one in self._held.values())

    def _share(self, task: str, held: Held | None) -> float:
        """Return the tokens per weight that the queue serves until the next request of `task` has its turn."""
        if held is None:
            return TURN_TOKENS / self._weight(task)
        return (held.num_tokens + TURN_TOKENS) / held.weight

    def _drain_s(self, task: str) -> float:
        """Return the seconds until the task may hold one more request, at the measured rate."""
        if self.num_requests == 0:
            return 0.0
        held = self._find(task)
        own_requests, own_tokens = (held.num_requests, held.num_tokens) if held else (0, 0)
        requests_over = self.num_requests + max(1, own_requests) - self._bounds.max_requests
        tokens_over = self.num_tokens + max(1, own_tokens) - self._bounds.max_tokens
        tokens = max(tokens_over, requests_over * self.num_tokens / self.num_requests)
        return tokens / self._throughput.assumed_tokens_per_s


def _overloaded(what: str, room_in_s: float, reason: RejectionReason) -> Overloaded:
    retry_after_s = max(1, math.ceil(room_in_s))
    return Overloaded(f"{what}: try again in {retry_after_s} s", retry_after_s, reason)
