"""AdmissionView: an Admission as another process sees it, which decides thousands of times by the same numbers."""

import time
from bisect import bisect_right
from collections.abc import Callable, Iterable
from functools import cached_property
from itertools import accumulate

from service.scheduling.admission import Admission, AdmissionState, Bounds, Held


class AdmissionView(Admission):
    """Decides as the Admission whose `state()` is given, with a request more of each task in `expected`.

    It gives no permits.
    """

    def __init__(
        self,
        bounds: Bounds,
        state: AdmissionState,
        *,
        weight: Callable[[str], float],
        expected: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(bounds, state, weight=weight, clock=clock)
        self.closing, self.refused_at = state.closing, state.refused_at
        self.num_requests, self.num_tokens = state.num_requests, state.num_tokens
        self._shown = state.held  # `_held` has only the tasks that `expect` has changed since
        for task in expected:
            self.expect(task)
        if self._held:
            changed = {task: (one.weight, one.num_requests, one.num_tokens) for task, one in self._held.items()}
            self._shown, self._held = state.held | changed, {}

    def expect(self, task: str, *, sign: int = 1) -> None:
        """Count a request of `task` that `check` let pass and that is on its way, or take it back with `sign` -1.

        The request counts with the mean tokens of those that are admitted.
        """
        held = self._find(task)
        if held is None:
            if sign < 0:
                return
            held = Held(self._weight(task))
        self._held[task] = held
        num_tokens = sign * (self.num_tokens // max(1, self.num_requests))
        held.num_requests += sign
        held.num_tokens += num_tokens
        self.num_requests += sign
        self.num_tokens += num_tokens

    def _find(self, task: str) -> Held | None:
        held = self._held.get(task)
        if held is None and (shown := self._shown.get(task)) is not None:
            held = Held(*shown)
        return held

    def _tokens_before(self, task: str, held: Held | None) -> float:
        """Return the same as Admission, by bisection: O(log tasks) after the first call, O(tasks) in that one."""
        share = self._share(task, held)
        ratios, num_tokens, weights = self._by_ratio
        at = bisect_right(ratios, share)  # the tasks before it count whole, the others with their share
        total = num_tokens[at] + share * weights[at]
        for name, changed in self._held.items():
            total += min(changed.num_tokens, share * changed.weight)
            if (shown := self._shown.get(name)) is not None:
                total -= min(shown[2], share * shown[0])
        return total

    @cached_property
    def _by_ratio(self) -> tuple[list[float], list[float], list[float]]:
        """Tokens per weight by task, ascending [n]; tokens of the first i tasks and weights of the others [n + 1]."""
        rows = sorted((tokens / weight, tokens, weight) for weight, _, tokens in self._shown.values())
        num_tokens = [0.0, *accumulate(tokens for _, tokens, _ in rows)]
        weights = [0.0, *accumulate(weight for _, _, weight in reversed(rows))]
        return [ratio for ratio, _, _ in rows], num_tokens, weights[::-1]
