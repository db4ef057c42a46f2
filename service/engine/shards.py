"""Shards: a batch cut into parts of about equal size, for as many engine threads."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.core import BatchTokens


@dataclass(frozen=True)
class Piece:
    """Inputs [start : stop] of one segment of a batch."""

    segment: int
    start: int
    stop: int


def split(batch: BatchTokens, num_shards: int) -> list[list[Piece]]:
    """At most `num_shards` shards, none empty; in the batch's order, so that few segments are cut."""
    middles = np.cumsum(batch.lengths) - batch.lengths / 2
    shards = (middles * num_shards / batch.lengths.sum()).astype(int)
    return [pieces for number in range(num_shards) if (pieces := _pieces(batch.num_inputs, shards == number))]


def _pieces(segments: Sequence[int], chosen: np.ndarray) -> list[Piece]:
    pieces, first = [], 0
    for segment, size in enumerate(segments):
        inside = np.flatnonzero(chosen[first : first + size])
        if len(inside):
            pieces.append(Piece(segment, int(inside[0]), int(inside[-1]) + 1))
        first += size
    return pieces
