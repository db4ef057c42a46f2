"""Buckets: the sizes that graphs are captured for."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.cuda.graphs import Bucket, Buckets

BUCKETS = Buckets(4096, 512)


@given(st.integers(1, 4096), st.integers(1, 512), st.integers(1, 512))
def test_a_bucket_holds_what_it_was_chosen_for(num_tokens: int, num_sequences: int, longest: int) -> None:
    """The chosen bucket is the smallest that holds the batch; there is none only if the largest is too small."""

    def holds(bucket: Bucket) -> bool:
        return (
            num_tokens <= bucket.num_tokens and num_sequences <= bucket.num_sequences and longest <= bucket.max_length
        )

    assert BUCKETS.choose(num_tokens, num_sequences, longest) == min(filter(holds, BUCKETS.all), default=None)


def test_padding_is_bounded() -> None:
    """A batch of 32 tokens or more is padded by at most half of its tokens; the last bucket is the token budget."""
    sizes = sorted({bucket.num_tokens for bucket in BUCKETS.all})
    assert sizes[:6] == [16, 32, 48, 64, 96, 128]
    assert sizes[-1] == 4096
    assert all(larger <= 1.5 * smaller for smaller, larger in pairwise(sizes[1:]))


def test_short_sequences_have_graphs_of_their_own() -> None:
    """A batch of short texts never pays for the grid of the longest ones, a batch with a long text gets it."""
    short, long = BUCKETS.choose(1000, 10, 128), BUCKETS.choose(1000, 10, 129)
    assert short is not None
    assert long is not None
    assert (short.num_tokens, short.max_length, long.num_tokens, long.max_length) == (1024, 128, 1024, 512)


def test_too_large_for_all() -> None:
    """There is no bucket for more tokens or sequences than the largest takes, or for a longer text."""
    assert BUCKETS.choose(4097, 1, 30) is None
    assert BUCKETS.choose(4000, 513, 30) is None
    assert BUCKETS.choose(4000, 1, 513) is None


@pytest.mark.parametrize(("max_tokens", "max_positions"), [(1, 512), (100, 64), (16, 16)])
def test_small_budgets(max_tokens: int, max_positions: int) -> None:
    """A budget below the smallest power of two, or a backbone of few positions, has its buckets, too."""
    buckets = Buckets(max_tokens, max_positions).all
    assert max(bucket.num_tokens for bucket in buckets) == max_tokens
    assert {bucket.max_length for bucket in buckets} == {max_positions if max_positions < 128 else 128}
