"""Packing: the offsets of the sequences in a batch that is one vector of tokens, without padding."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

LENGTH_STEP = 16  # attention is fastest over whole vector registers: length 48 takes less time than 39


@dataclass(frozen=True, eq=False)
class LengthGroup:
    """`num_sequences` sequences, each padded to `length` tokens, from row `start` of the grouped order on."""

    start: int
    num_sequences: int
    length: int  # a multiple of LENGTH_STEP
    is_token: Tensor | None  # [num_sequences, 1, 1, length] bool, on the device; None: no padding

    @property
    def stop(self) -> int:
        """The first row after the group."""
        return self.start + self.num_sequences * self.length


@dataclass(frozen=True, eq=False)
class Grouping:
    """An order of G >= T rows in which sequences of about the same length are neighbours."""

    groups: tuple[LengthGroup, ...]  # ascending by length
    to_groups: Tensor  # [G] int64: the batch row of each row of the groups; for padding the sequence's first row
    from_groups: Tensor  # [R] int64: the inverse of to_groups; any row for rows of no sequence

    @classmethod
    def of(cls, sizes: np.ndarray, num_rows: int, device: torch.device) -> "Grouping":
        """Group sequences of `sizes`, which lie side by side in R = `num_rows` rows."""
        starts = np.cumsum(sizes) - sizes
        filled = -(-sizes // LENGTH_STEP) * LENGTH_STEP
        order = np.argsort(filled, kind="stable")
        places = _places(filled[order])
        is_token = places < np.repeat(sizes[order], filled[order])
        to_groups = np.repeat(starts[order], filled[order]) + np.where(is_token, places, 0)
        from_groups = np.zeros(num_rows, dtype=np.int64)
        from_groups[to_groups[is_token]] = np.flatnonzero(is_token)
        return cls(
            groups=_groups(filled, _tensor(is_token, device), is_token),
            to_groups=_tensor(to_groups, device),
            from_groups=_tensor(from_groups, device),
        )


@dataclass(frozen=True, eq=False)
class Packing:
    """Offsets of N sequences in T tokens."""

    sizes: np.ndarray  # [N] int64: the lengths, on the host
    lengths: Tensor  # [N] int64: the lengths, on the device
    first_rows: Tensor  # [N] int64: the row of each sequence's first token
    positions: Tensor  # [R] int64: 0, 1, ... within each sequence; R >= T, rows from T on are padding

    @classmethod
    def of(
        cls, lengths: Sequence[int] | np.ndarray, device: torch.device | str = "cpu", *, num_rows: int | None = None
    ) -> "Packing":
        """Pack N sequences of `lengths` in the given order, into `num_rows` rows (default: T).

        Raises ValueError if there is no sequence, or an empty one.
        """
        sizes = np.asarray(lengths, dtype=np.int64)
        if sizes.ndim != 1 or sizes.size == 0 or sizes.min() < 1:
            raise ValueError("a packing needs at least one sequence, and at least one token in each")
        rows = sizes.sum() if num_rows is None else num_rows
        device = torch.device(device)
        return cls(
            sizes=sizes,
            lengths=_tensor(sizes, device),
            first_rows=_tensor(np.cumsum(sizes) - sizes, device),
            positions=_tensor(np.pad(_places(sizes), (0, rows - sizes.sum())), device),
        )

    @property
    def max_length(self) -> int:
        """The length of the longest sequence."""
        return int(self.sizes.max())

    @cached_property
    def grouping(self) -> Grouping:
        """The order by length, computed on first use: not every kind of attention needs it."""
        return Grouping.of(self.sizes, len(self.positions), self.positions.device)


def _tensor(values: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(values).to(device, non_blocking=True)


def _places(sizes: np.ndarray) -> np.ndarray:
    """Return 0, 1, ... within each of `sizes`."""
    places: np.ndarray = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return places


def _groups(filled: np.ndarray, on_device: Tensor, is_token: np.ndarray) -> tuple[LengthGroup, ...]:
    groups, start = [], 0
    for length, count in zip(*(array.tolist() for array in np.unique(filled, return_counts=True)), strict=True):
        stop = start + length * count
        whole = bool(is_token[start:stop].all())
        groups.append(
            LengthGroup(start, count, length, None if whole else on_device[start:stop].view(count, 1, 1, length))
        )
        start = stop
    return tuple(groups)
