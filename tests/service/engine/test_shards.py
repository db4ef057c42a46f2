"""Shards: every input in exactly one, in order, and about as many tokens in each."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adapters.backbone.text_encoder import Encoding
from service.core import Batch, Part, Request, Segment
from service.engine.shards import split


def batch_of(segments: list[list[int]]) -> Batch:
    """Segments of inputs of these lengths."""
    made = []
    for slot, lengths in enumerate(segments):
        ids = [np.zeros(length, dtype=np.int64) for length in lengths]
        encodings = [Encoding(row, row, False) for row in ids]
        request = Request("task", slot, encodings, done=None)  # type: ignore[arg-type]  # nobody waits for it
        made.append(Segment(slot, [Part(request, 0, encodings)]))
    return Batch(made)


@given(st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=6), min_size=1, max_size=8), st.integers(1, 5))
def test_shards_hold_each_input_once(segments: list[list[int]], num_shards: int) -> None:
    """Joined, the pieces are the batch; no shard is empty, and none over its share by more than one input."""
    shards = split(batch_of(segments).tokens(), num_shards)
    pieces = [piece for shard in shards for piece in shard]
    inputs = [(piece.segment, index) for piece in pieces for index in range(piece.start, piece.stop)]
    assert inputs == [(number, index) for number, lengths in enumerate(segments) for index in range(len(lengths))]
    assert 1 <= len(shards) <= num_shards
    longest, share = max(map(max, segments)), sum(map(sum, segments)) / num_shards
    for shard in shards:
        assert 0 < sum(sum(segments[piece.segment][piece.start : piece.stop]) for piece in shard) <= share + longest
