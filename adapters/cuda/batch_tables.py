"""What a forward on the GPU needs to know of its batch, in one block of memory that is copied there at once."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from adapters.backbone.text_encoder import Encoding
from adapters.cuda.buckets import Bucket
from adapters.cuda.fused_kernel import ROWS_PER_TILE
from adapters.cuda.head_kernel import POOLING_CODES
from adapters.serving.bank import SlotWeights

_ALIGNMENT = 16  # bytes: where each table begins

Work = Sequence[tuple[SlotWeights, Sequence[Encoding]]]  # the segments of a batch, in order


@dataclass(frozen=True)
class TableSizes:
    """How much the tables hold; a batch may leave room."""

    num_tokens: int
    num_sequences: int
    num_segments: int
    num_tiles: int
    num_layers: int
    max_length: int  # of a sequence

    @classmethod
    def of(cls, work: Work, num_layers: int) -> "TableSizes":
        """Without any room."""
        lengths = [[len(encoding) for encoding in encodings] for _, encodings in work]
        return cls(
            num_tokens=sum(map(sum, lengths)),
            num_sequences=sum(map(len, lengths)),
            num_segments=len(work),
            num_tiles=sum(-(-sum(segment) // ROWS_PER_TILE) for segment in lengths),
            num_layers=num_layers,
            max_length=max((length for segment in lengths for length in segment), default=1),
        )

    @classmethod
    def of_bucket(cls, bucket: Bucket, num_layers: int) -> "TableSizes":
        """Room for every batch that the bucket takes, and for the sequences that its padding makes."""
        return cls(
            num_tokens=bucket.num_tokens,
            num_sequences=bucket.num_sequences + -(-bucket.num_tokens // bucket.max_length),
            num_segments=bucket.num_sequences,
            num_tiles=bucket.num_tokens // ROWS_PER_TILE + bucket.num_sequences,
            num_layers=num_layers,
            max_length=bucket.max_length,
        )


@dataclass(frozen=True, eq=False)
class BatchTables:
    """Views of one block. T tokens, N sequences, S segments, K tiles, L layers."""

    addresses: Tensor  # [S, L, 3] int64: see fused_kernel.add_adapters
    heads: Tensor  # [S, 2] int64: see head_kernel.pool_and_classify
    token_ids: Tensor  # [T] int32
    type_ids: Tensor  # [T] int32
    positions: Tensor  # [T] int32
    cu_seqlens: Tensor  # [N + 1] int32
    first_rows: Tensor  # [N] int32: row of each sequence's first token; 0 for an empty sequence
    sequences: Tensor  # [N, 4] int32: segment, code of the pooling, number of outputs, first logit
    tiles: Tensor  # [K, 3] int32: segment, first row, number of rows
    bottlenecks: Tensor  # [S, 2] int32: p, q


def num_table_bytes(sizes: TableSizes) -> int:
    """Size of the block."""
    return sum(_num_bytes(shape, dtype) for shape, dtype in _layout(sizes).values())


def carve(block: Tensor, sizes: TableSizes) -> BatchTables:
    """Views of block [num_table_bytes] uint8, wherever it lies."""
    views, at = {}, 0
    for name, (shape, dtype) in _layout(sizes).items():
        num_used = torch.Size(shape).numel() * dtype.itemsize
        views[name] = block.narrow(0, at, num_used).view(dtype).view(shape)
        at += _num_bytes(shape, dtype)
    return BatchTables(**views)


def fill(tables: BatchTables, work: Work, max_length: int) -> list[int]:
    """Write the batch into tables on the host; every element is written. Returns where each segment's logits end.

    Tokens beyond those of `work` make sequences of their own, at most `max_length` long: no adapter's rows, no logits.
    """
    into = {field.name: getattr(tables, field.name).numpy() for field in fields(tables)}
    encodings = [encoding for _, members in work for encoding in members]
    lengths = np.array([len(encoding) for encoding in encodings], dtype=np.int64)
    full, rest = divmod(len(into["token_ids"]) - int(lengths.sum()), max_length)
    padding = np.array([max_length] * full + [rest] * (rest > 0), dtype=np.int64)
    _fill_tokens(into, encodings, np.concatenate([lengths, padding]))
    for name in ("sequences", "tiles", "bottlenecks", "addresses", "heads"):
        into[name].fill(0)
    if not work:
        return []
    owners = np.repeat(np.arange(len(work)), [len(members) for _, members in work])
    _fill_tiles(into["tiles"], np.bincount(owners, weights=lengths, minlength=len(work)).astype(np.int64))
    held = [weights for weights, _ in work]
    into["bottlenecks"][: len(work)] = [weights.bottleneck for weights in held]
    into["addresses"][: len(work)] = [weights.addresses for weights in held]
    into["heads"][: len(work)] = [(one.head_weight.data_ptr(), one.head_bias.data_ptr()) for one in held]
    num_outputs = np.array([weights.task.num_outputs for weights in held])[owners]
    ends = np.cumsum(num_outputs)
    poolings = np.array([POOLING_CODES[weights.task.pooling] for weights in held])[owners]
    into["sequences"][: len(owners)] = np.stack([owners, poolings, num_outputs, ends - num_outputs], axis=1)
    last = np.cumsum([len(members) for _, members in work])  # of each segment, and one
    return [int(end) for end in np.concatenate([[0], ends])[last]]


def _fill_tiles(tiles: np.ndarray, num_rows: np.ndarray) -> None:
    """One row per tile of segments of `num_rows` rows, side by side."""
    num_tiles = -(-num_rows // ROWS_PER_TILE)
    segments = np.repeat(np.arange(len(num_rows)), num_tiles)
    within = ROWS_PER_TILE * (np.arange(len(segments)) - (np.cumsum(num_tiles) - num_tiles)[segments])
    first_rows = (np.cumsum(num_rows) - num_rows)[segments] + within
    sizes = np.minimum(num_rows[segments] - within, ROWS_PER_TILE)
    tiles[: len(segments)] = np.stack([segments, first_rows, sizes], axis=1)


def _fill_tokens(into: dict[str, np.ndarray], encodings: Sequence[Encoding], lengths: np.ndarray) -> None:
    starts = np.cumsum(lengths) - lengths
    num_tokens = sum(len(encoding) for encoding in encodings)
    for name in ("token_ids", "type_ids"):
        into[name][num_tokens:] = 0
        if encodings:
            parts = [getattr(encoding, name) for encoding in encodings]
            np.concatenate(parts, out=into[name][:num_tokens], casting="same_kind")
    into["positions"][:] = np.arange(len(into["positions"])) - np.repeat(starts, lengths)
    into["cu_seqlens"][: len(starts)] = starts
    into["cu_seqlens"][len(starts) :] = len(into["positions"])
    into["first_rows"][: len(starts)] = starts
    into["first_rows"][len(starts) :] = 0


def _layout(sizes: TableSizes) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    tokens, sequences, segments = sizes.num_tokens, sizes.num_sequences, sizes.num_segments
    return {
        "addresses": ((segments, sizes.num_layers, 3), torch.int64),
        "heads": ((segments, 2), torch.int64),
        "token_ids": ((tokens,), torch.int32),
        "type_ids": ((tokens,), torch.int32),
        "positions": ((tokens,), torch.int32),
        "cu_seqlens": ((sequences + 1,), torch.int32),
        "first_rows": ((sequences,), torch.int32),
        "sequences": ((sequences, 4), torch.int32),
        "tiles": ((sizes.num_tiles, 3), torch.int32),
        "bottlenecks": ((segments, 2), torch.int32),
    }


def _num_bytes(shape: tuple[int, ...], dtype: torch.dtype) -> int:
    return -(-torch.Size(shape).numel() * dtype.itemsize // _ALIGNMENT) * _ALIGNMENT
