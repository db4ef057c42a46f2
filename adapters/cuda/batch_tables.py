"""The tables that describe a batch to the kernels, in one block of memory that is copied to the GPU at once."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from adapters.cuda.fused_kernel import ROWS_PER_TILE
from adapters.cuda.graphs import Bucket
from adapters.cuda.head_kernel import POOLING_CODES
from adapters.serving.batch import BatchTokens
from adapters.serving.layout import SlotWeights

_ALIGNMENT = 16  # bytes: each table begins at a multiple


@dataclass(frozen=True)
class TableSizes:
    """The sizes of the tables; a batch may leave a part of them unused."""

    num_tokens: int
    num_sequences: int
    num_segments: int
    num_tiles: int
    num_layers: int
    max_length: int  # of a sequence

    @classmethod
    def of(cls, batch: BatchTokens, num_layers: int) -> "TableSizes":
        """Exactly what the batch needs."""
        return cls(
            num_tokens=batch.num_tokens,
            num_sequences=len(batch.lengths),
            num_segments=len(batch.slots),
            num_tiles=int((-(-_num_rows(batch) // ROWS_PER_TILE)).sum()),
            num_layers=num_layers,
            max_length=int(batch.lengths.max(initial=1)),
        )

    @classmethod
    def of_bucket(cls, bucket: Bucket, num_layers: int) -> "TableSizes":
        """Enough for every batch that fits the bucket, and for the sequences of its padding."""
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
    """The tables as views of one block: T tokens, N sequences, S segments, K tiles, L layers."""

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
    """Return the size of the block that holds tables of these sizes."""
    return sum(_num_bytes(shape, dtype) for shape, dtype in _layout(sizes).values())


def carve(block: Tensor, sizes: TableSizes) -> BatchTables:
    """Return views of block [num_table_bytes] uint8, on any device."""
    views, at = {}, 0
    for name, (shape, dtype) in _layout(sizes).items():
        num_used = torch.Size(shape).numel() * dtype.itemsize
        views[name] = block.narrow(0, at, num_used).view(dtype).view(shape)
        at += _num_bytes(shape, dtype)
    return BatchTables(**views)


def fill(tables: BatchTables, batch: BatchTokens, weights: Sequence[SlotWeights], max_length: int) -> list[int]:
    """Write the batch, with the weights of each segment's slot, into tables on the host. Every element is written.

    Returns where each segment's logits end. Tokens beyond the batch's are padding: sequences of their own, at most
    `max_length` long, without an adapter and without logits.
    """
    into = {field.name: getattr(tables, field.name).numpy() for field in fields(tables)}
    full, rest = divmod(len(into["token_ids"]) - batch.num_tokens, max_length)
    padding = np.array([max_length] * full + [rest] * (rest > 0), dtype=np.int64)
    _fill_tokens(into, batch, np.concatenate([batch.lengths, padding]))
    for name in ("sequences", "tiles", "bottlenecks", "addresses", "heads"):
        into[name].fill(0)
    num_segments = len(batch.slots)
    if not num_segments:
        return []
    _fill_tiles(into["tiles"], _num_rows(batch))
    into["bottlenecks"][:num_segments] = [one.bottleneck for one in weights]
    into["addresses"][:num_segments] = [one.addresses for one in weights]
    into["heads"][:num_segments] = [(one.head_weight.data_ptr(), one.head_bias.data_ptr()) for one in weights]
    owners = _owners(batch)
    num_outputs = np.array([one.task.num_outputs for one in weights])[owners]
    ends = np.cumsum(num_outputs)
    poolings = np.array([POOLING_CODES[one.task.pooling] for one in weights])[owners]
    into["sequences"][: len(owners)] = np.stack([owners, poolings, num_outputs, ends - num_outputs], axis=1)
    return [int(end) for end in np.concatenate([[0], ends])[np.cumsum(batch.num_inputs)]]


def _owners(batch: BatchTokens) -> np.ndarray:
    """[N]: the segment of each input."""
    return np.repeat(np.arange(len(batch.slots)), batch.num_inputs)


def _num_rows(batch: BatchTokens) -> np.ndarray:
    """[S]: the tokens of each segment."""
    return np.bincount(_owners(batch), weights=batch.lengths, minlength=len(batch.slots)).astype(np.int64)


def _fill_tiles(tiles: np.ndarray, num_rows: np.ndarray) -> None:
    """Write one row per tile, for segments of `num_rows` rows side by side."""
    num_tiles = -(-num_rows // ROWS_PER_TILE)
    segments = np.repeat(np.arange(len(num_rows)), num_tiles)
    within = ROWS_PER_TILE * (np.arange(len(segments)) - (np.cumsum(num_tiles) - num_tiles)[segments])
    first_rows = (np.cumsum(num_rows) - num_rows)[segments] + within
    sizes = np.minimum(num_rows[segments] - within, ROWS_PER_TILE)
    tiles[: len(segments)] = np.stack([segments, first_rows, sizes], axis=1)


def _fill_tokens(into: dict[str, np.ndarray], batch: BatchTokens, lengths: np.ndarray) -> None:
    """`lengths`: of the batch's inputs, then of the padding's sequences."""
    starts = np.cumsum(lengths) - lengths
    for name, ids in (("token_ids", batch.token_ids), ("type_ids", batch.type_ids)):
        into[name][: len(ids)] = ids
        into[name][len(ids) :] = 0
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
