"""A batch laid flat and cut into shards."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adapters.backbone.text_encoder import Encoding
from adapters.serving.batch import BatchTokens, split


def batch_of(segments: list[list[int]]) -> BatchTokens:
    """Make segments of inputs of these lengths."""
    rows = [[np.zeros(length, dtype=np.int64) for length in lengths] for lengths in segments]
    return BatchTokens.of([(slot, [Encoding(row, row, False) for row in ids]) for slot, ids in enumerate(rows)])


def test_arrays_stand_in_the_order_of_the_segments() -> None:
    """Token ids, types and lengths of all inputs lie side by side."""
    one, two, three = (Encoding(np.arange(n), np.full(n, n), False) for n in (1, 2, 3))
    batch = BatchTokens.of([(7, [two]), (3, [three, one])])
    assert (batch.slots, batch.num_inputs, batch.num_tokens) == ([7, 3], [1, 2], 6)
    assert batch.lengths.tolist() == [2, 3, 1]
    assert batch.token_ids.tolist() == [0, 1, 0, 1, 2, 0]
    assert batch.type_ids.tolist() == [2, 2, 3, 3, 3, 1]


@given(st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=6), min_size=1, max_size=8), st.integers(1, 5))
def test_shards_hold_each_input_once(segments: list[list[int]], num_shards: int) -> None:
    """Joined, the pieces are the batch; no shard is empty, and none over its share by more than one input."""
    shards = split(batch_of(segments), num_shards)
    pieces = [piece for shard in shards for piece in shard]
    inputs = [(piece.segment, index) for piece in pieces for index in range(piece.start, piece.stop)]
    assert inputs == [(number, index) for number, lengths in enumerate(segments) for index in range(len(lengths))]
    assert 1 <= len(shards) <= num_shards
    longest, share = max(map(max, segments)), sum(map(sum, segments)) / num_shards
    for shard in shards:
        assert 0 < sum(sum(segments[piece.segment][piece.start : piece.stop]) for piece in shard) <= share + longest
