"""Packing: where each sequence lies in a batch that is one vector of tokens, without padding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class LengthGroup:
    """`num_sequences` sequences of `length` tokens each, side by side from row `start` of the grouped order."""

    start: int
    num_sequences: int
    length: int

    @property
    def stop(self) -> int:
        """First row after the group."""
        return self.start + self.num_sequences * self.length


@dataclass(frozen=True)
class Packing:
    """Offsets of N sequences in T tokens, and the order that puts sequences of equal length side by side."""

    lengths: Tensor  # [N] int64, on the device
    first_rows: Tensor  # [N] int64: the row of each sequence's first token
    positions: Tensor  # [T] int64: 0, 1, ... within each sequence
    groups: tuple[LengthGroup, ...]  # one per distinct length, ascending
    to_groups: Tensor | None  # [T]: row of each token in grouped order comes from here; None: already grouped
    from_groups: Tensor | None  # [T]: the inverse of to_groups

    @classmethod
    def of(cls, lengths: Sequence[int] | np.ndarray, device: torch.device | str = "cpu") -> "Packing":
        """Pack sequences of `lengths` (N of them, each at least 1) in the order given.

        Raises ValueError where there is none, or an empty one.
        """
        sizes = np.asarray(lengths, dtype=np.int64)
        if sizes.ndim != 1 or sizes.size == 0 or sizes.min() < 1:
            raise ValueError("a packing needs at least one sequence, and at least one token in each")
        starts = np.cumsum(sizes) - sizes
        positions = np.arange(sizes.sum()) - np.repeat(starts, sizes)
        order = np.argsort(sizes, kind="stable")
        groups = _groups(sizes)
        to_groups = from_groups = None
        if (order != np.arange(len(sizes))).any():
            grouped_sizes = sizes[order]
            grouped_starts = np.cumsum(grouped_sizes) - grouped_sizes
            rows = np.arange(sizes.sum()) + np.repeat(starts[order] - grouped_starts, grouped_sizes)
            to_groups = torch.from_numpy(rows).to(device, non_blocking=True)
            from_groups = torch.from_numpy(np.argsort(rows)).to(device, non_blocking=True)
        return cls(
            lengths=torch.from_numpy(sizes).to(device, non_blocking=True),
            first_rows=torch.from_numpy(starts).to(device, non_blocking=True),
            positions=torch.from_numpy(positions).to(device, non_blocking=True),
            groups=groups,
            to_groups=to_groups,
            from_groups=from_groups,
        )


def _groups(sizes: np.ndarray) -> tuple[LengthGroup, ...]:
    values, counts = np.unique(sizes, return_counts=True)
    starts = np.cumsum(values * counts) - values * counts
    return tuple(
        LengthGroup(start, count, length)
        for start, count, length in zip(starts.tolist(), counts.tolist(), values.tolist(), strict=True)
    )
