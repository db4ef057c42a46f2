"""ThroughputEstimator: the measured speed of the engine, and from it the size of a batch and the wait for a queue."""

from service.core import TURN_TOKENS

_RATE_WEIGHT = 0.2  # of the newest full batch in the running mean
_MIN_BATCH_TOKENS = 256  # smaller batches cost throughput
_CONTENDED_SHARE = 0.22  # of the target duration, for a batch while light tasks compete with a backlog
_BACKLOG_SHARE = 0.12  # of it, at most for the task with the backlog
_CONTENDED_TURN_SHARE = 0.05  # of it, for a turn then
_MIN_BACKLOG_TOKENS, _MIN_CONTENDED_TURN_TOKENS = 128, 80  # less would cost throughput
UNMEASURED_TOKENS_PER_S = 1000.0  # assumed until a batch is measured: a slow CPU's


class ThroughputEstimator:
    """A batch holds what the engine computes in `target_batch_s`, and at most `max_batch_tokens`.

    So on a slow device a new request does not wait for seconds until the running batch ends.
    """

    def __init__(
        self, *, max_batch_tokens: int, target_batch_s: float, unmeasured_tokens_per_s: float = UNMEASURED_TOKENS_PER_S
    ) -> None:
        self._max_batch_tokens, self._target_batch_s = max_batch_tokens, target_batch_s
        self._unmeasured_tokens_per_s = unmeasured_tokens_per_s
        self.tokens_per_s: float | None = None  # running mean; None until a full batch was measured
        self._at_least: float | None = None  # tokens a second: the fastest batch until then

    @property
    def assumed_tokens_per_s(self) -> float:
        """The speed that predictions of waits use.

        The measured speed; until a full batch was measured, a cautious guess or the fastest smaller batch, whichever
        is more. So a fast device is underestimated only until its second batch.
        """
        return self.tokens_per_s or max(self._unmeasured_tokens_per_s, self._at_least or 0.0)

    @property
    def batch_tokens(self) -> int:
        """The token budget of a batch now.

        While only small batches were measured it stays small: it grows with the first full batches, while a budget
        that is far too large would delay all requests by one huge batch.
        """
        tokens_per_s = self.tokens_per_s or self._at_least
        if tokens_per_s is None:
            return self._max_batch_tokens
        return min(self._max_batch_tokens, max(_MIN_BATCH_TOKENS, int(tokens_per_s * self._target_batch_s)))

    def contended_tokens(self, light_tokens: int) -> int:
        """Return the tokens up to which a batch takes second turns while light tasks compete with a backlog.

        The backlog fills what the `light_tokens` that are queued leave of the tokens of `_CONTENDED_SHARE`, so that
        batches last about equally long, but with no more than those of `_BACKLOG_SHARE`.
        """
        of_backlog = max(min(_MIN_BACKLOG_TOKENS, self.batch_tokens), self._tokens_of(_BACKLOG_SHARE))
        return min(max(of_backlog, self._tokens_of(_CONTENDED_SHARE)), light_tokens + of_backlog)

    @property
    def contended_turn_tokens(self) -> int:
        """The tokens of a turn then: those of `_CONTENDED_TURN_SHARE`, and at most TURN_TOKENS."""
        return min(TURN_TOKENS, self._tokens_of(_CONTENDED_TURN_SHARE))

    def _tokens_of(self, share: float) -> int:
        if self.tokens_per_s is None:
            return self.batch_tokens
        tokens = int(self.tokens_per_s * self._target_batch_s * share)
        return min(self.batch_tokens, max(_MIN_CONTENDED_TURN_TOKENS, tokens))

    def seconds(self, num_tokens: int) -> float:
        """Return the time that a batch of `num_tokens` should take; 0 until a full batch was measured."""
        return 0.0 if self.tokens_per_s is None else num_tokens / self.tokens_per_s

    def observe(self, num_tokens: int, duration_s: float, *, full: bool) -> None:
        """Record a computed batch. One that was not full is only a lower bound of the speed."""
        measured = num_tokens / max(duration_s, 1e-6)
        if self.tokens_per_s is None:
            self.tokens_per_s = max(measured, self._at_least or 0.0) if full else None
            self._at_least = max(measured, self._at_least or 0.0)
        elif full:
            self.tokens_per_s += _RATE_WEIGHT * (measured - self.tokens_per_s)
        else:
            self.tokens_per_s = max(self.tokens_per_s, measured)
