"""Buckets: the few sizes of batch that CUDA graphs are captured for."""

from dataclasses import dataclass

_SMALLEST = 16
_SHORT = 128  # tokens: most texts are no longer, and attention over them needs a smaller grid


@dataclass(frozen=True, order=True)
class Bucket:
    """Batches up to these sizes run in it, padded to `num_tokens` tokens."""

    num_tokens: int
    max_length: int  # of a sequence
    num_sequences: int  # without those that hold the padding


class Buckets:
    """Powers of two of tokens and what lies half-way between them, each for short sequences and for all."""

    def __init__(self, max_tokens: int, max_positions: int) -> None:
        sizes, power = set(), _SMALLEST
        while power < max_tokens:
            sizes |= {power, power + power // 2} if power >= 2 * _SMALLEST else {power}
            power *= 2
        lengths = {min(_SHORT, max_positions), max_positions}
        self.all = tuple(
            Bucket(size, length, max(4, size // 8))
            for size in sorted({size for size in sizes if size < max_tokens} | {max_tokens})
            for length in sorted(lengths)
            if length == min(lengths) or size > min(lengths)
        )

    def choose(self, num_tokens: int, num_sequences: int, longest: int) -> Bucket | None:
        """The smallest that holds a batch of these sizes; None where none does."""
        for bucket in self.all:
            if (
                num_tokens <= bucket.num_tokens
                and num_sequences <= bucket.num_sequences
                and longest <= bucket.max_length
            ):
                return bucket
        return None
