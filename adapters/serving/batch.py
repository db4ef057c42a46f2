"""BatchTokens: a mixed batch as flat arrays, from the scheduler to the kernels; and how it is cut into shards."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from adapters.backbone.text_encoder import Encoding


@dataclass(frozen=True, eq=False)
class BatchTokens:
    """S segments, one adapter each, of N inputs with T tokens; all side by side, in the order of the segments."""

    slots: Sequence[int]  # [S]: where each segment's adapter is
    num_inputs: Sequence[int]  # [S]
    lengths: np.ndarray  # [N] int64, tokens of each input
    token_ids: np.ndarray  # [T] int64
    type_ids: np.ndarray  # [T] int64

    @classmethod
    def of(cls, segments: Sequence[tuple[int, Sequence[Encoding]]]) -> Self:
        """Lay the encodings of segments (slot, encodings) flat; at least one segment, and one encoding in each."""
        encodings = [encoding for _, members in segments for encoding in members]
        return cls(
            slots=[slot for slot, _ in segments],
            num_inputs=[len(members) for _, members in segments],
            lengths=np.array([len(encoding) for encoding in encodings]),
            token_ids=np.concatenate([encoding.token_ids for encoding in encodings]),
            type_ids=np.concatenate([encoding.type_ids for encoding in encodings]),
        )

    @property
    def num_tokens(self) -> int:
        """T."""
        return len(self.token_ids)


@dataclass(frozen=True)
class Piece:
    """Inputs [start : stop] of one segment of a batch."""

    segment: int
    start: int
    stop: int


def split(batch: BatchTokens, num_shards: int) -> list[list[Piece]]:
    """Cut a batch into at most `num_shards` shards of about equal numbers of tokens, none empty.

    Inputs stay in the batch's order, so that few segments are cut.
    """
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
