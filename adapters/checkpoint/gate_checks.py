"""Checks of the gates in a gated file: number and order of the keys, and that each gate is a weighting."""

from collections.abc import Mapping

import numpy as np

from adapters.checkpoint.container import TensorEntry
from adapters.config import GATE_KEYS, GATE_MEAN, GATE_TABLE
from adapters.errors import CheckpointError
from adapters.gates import MAX_KEYS, MIN_KEYS

MAX_DEVIATION = 1e-3  # of a gate's sum from 1: rounding to float16 stays below
_DTYPES = {"F32": "<f4", "F16": "<f2"}
_BLOCK = 1 << 18  # numbers that are compared at a time, so that the memory stays small


def check_num_keys(entries: Mapping[str, TensorEntry]) -> int:
    """Return the number of keys by the shape of their digests. Raises CheckpointError for too few and too many."""
    count = entries[GATE_KEYS].shape[0]
    if not MIN_KEYS <= count <= MAX_KEYS:
        raise CheckpointError("gate_keys", f"the file has {count} keys; a gated file has {MIN_KEYS} to {MAX_KEYS:,}")
    return count


def check_gates(data: bytes, entries: Mapping[str, TensorEntry]) -> None:
    """Check the order of the keys and the values of the gates, which are finite. Raises CheckpointError."""
    _check_order(data, entries[GATE_KEYS])
    for name in (GATE_TABLE, GATE_MEAN):
        _check_weightings(data, name, entries[name])


def _check_order(data: bytes, entry: TensorEntry) -> None:
    halves = np.frombuffer(data, ">u8", 2 * entry.shape[0], entry.start).reshape(-1, 2)
    high, low = halves[:, 0], halves[:, 1]
    ascends = (high[:-1] < high[1:]) | ((high[:-1] == high[1:]) & (low[:-1] < low[1:]))
    if not ascends.all():
        at = int(ascends.argmin())
        raise CheckpointError("gate_keys", f"the digests of the keys must ascend; that of row {at + 1} does not")


def _check_weightings(data: bytes, name: str, entry: TensorEntry) -> None:
    """Check that the last axis of a tensor has weights of at least 0 with a sum of 1."""
    num_experts = entry.shape[-1]
    count = (entry.stop - entry.start) // np.dtype(_DTYPES[entry.dtype]).itemsize
    gates = np.frombuffer(data, _DTYPES[entry.dtype], count, entry.start).reshape(-1, num_experts)
    ones, step = np.ones(num_experts, dtype=np.float32), max(1, _BLOCK // num_experts)
    for start in range(0, len(gates), step):
        block = gates[start : start + step].astype(np.float32, copy=False)
        if block.min() < 0:
            raise CheckpointError("gate_values", f"tensor {name} holds a negative weight, {block.min():.3g}")
        sums = block @ ones
        wrong = np.abs(sums - 1) > MAX_DEVIATION
        if wrong.any():
            found = sums[wrong.argmax()]
            raise CheckpointError("gate_values", f"tensor {name} holds weights with the sum {found:.6g}, not 1")
