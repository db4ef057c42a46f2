"""ThroughputEstimator: measures the engine, and so says how much a batch may hold and how long a queue takes."""

_RATE_WEIGHT = 0.2  # of the last full batch in the running mean
_MIN_BATCH_TOKENS = 256  # smaller ones cost throughput
UNMEASURED_TOKENS_PER_S = 1000.0  # assumed until a batch is measured: a slow CPU's


class ThroughputEstimator:
    """A batch holds what the engine computes in `target_batch_s`, and at most `max_batch_tokens`: on a slow device a
    request that has just come does not wait for seconds of others' work."""

    def __init__(
        self, *, max_batch_tokens: int, target_batch_s: float, unmeasured_tokens_per_s: float = UNMEASURED_TOKENS_PER_S
    ) -> None:
        self._max_batch_tokens, self._target_batch_s = max_batch_tokens, target_batch_s
        self._unmeasured_tokens_per_s = unmeasured_tokens_per_s
        self.tokens_per_s: float | None = None  # running mean; None before a full batch was measured
        self._at_least: float | None = None  # tokens a second, before that

    @property
    def assumed_tokens_per_s(self) -> float:
        """The speed by which an answer is promised: the measured one, and before that a cautious one, or what small
        batches have shown where that is more. It is wrong for a fast device only until its second batch is computed.
        """
        return self.tokens_per_s or max(self._unmeasured_tokens_per_s, self._at_least or 0.0)

    @property
    def batch_tokens(self) -> int:
        """The token budget of a batch now.

        As long as only small batches were measured it is small: it grows with the first full ones, while one that was
        far too large would hold up everybody for as long as it takes.
        """
        tokens_per_s = self.tokens_per_s or self._at_least
        if tokens_per_s is None:
            return self._max_batch_tokens
        return min(self._max_batch_tokens, max(_MIN_BATCH_TOKENS, int(tokens_per_s * self._target_batch_s)))

    def seconds(self, num_tokens: int) -> float:
        """What a batch of so many tokens is expected to take; 0 before one was measured."""
        return 0.0 if self.tokens_per_s is None else num_tokens / self.tokens_per_s

    def observe(self, num_tokens: int, duration_s: float, *, full: bool) -> None:
        """A batch was computed. One that is not full only says how fast the engine is at least."""
        measured = num_tokens / max(duration_s, 1e-6)
        if self.tokens_per_s is None:
            self.tokens_per_s = max(measured, self._at_least or 0.0) if full else None
            self._at_least = max(measured, self._at_least or 0.0)
        elif full:
            self.tokens_per_s += _RATE_WEIGHT * (measured - self.tokens_per_s)
        else:
            self.tokens_per_s = max(self.tokens_per_s, measured)
