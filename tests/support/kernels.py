"""Shared by the tests of the Triton kernels: the device, banks and tables."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from adapters.adapter import Adapter
from adapters.backbone.text_encoder import Encoding
from adapters.cuda.batch_tables import BatchTables, TableSizes, carve, fill, num_table_bytes
from adapters.serving.bank import AdapterBank
from adapters.serving.batch import BatchTokens

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # compiled there, interpreted here
POPULARITY: dict[str, Callable[[int, np.random.Generator], list[int]]] = {  # rows of each of n adapters
    "distinct": lambda n, rng: [1] * n,
    "uniform": lambda n, rng: rng.integers(1, 40, n).tolist(),
    "zipf": lambda n, rng: np.minimum(rng.zipf(1.5, n), 70).tolist(),
    "identical": lambda n, rng: [37] + [0] * (n - 1),
    "skewed": lambda n, rng: [65] + [1] * (n - 1),
}


def mend_bfloat16_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton's interpreter keeps bfloat16 as bits in an integer, and `tl.dot` multiplies those integers: widen them."""
    if DEVICE == "cuda":
        return
    import triton.language as tl
    from triton.runtime import interpreter

    builder = interpreter.InterpreterBuilder
    multiply = builder.create_dot

    def widened(handle: interpreter.TensorHandle) -> interpreter.TensorHandle:
        if handle.dtype.scalar != tl.bfloat16:
            return handle
        bits = handle.data.astype(np.uint32) << 16
        return interpreter.TensorHandle(bits.view(np.float32), tl.float32)

    def create_dot(self: object, a: object, b: object, *rest: object) -> object:
        return multiply(self, widened(a), widened(b), *rest)

    monkeypatch.setattr(builder, "create_dot", create_dot)


def bank_with(adapters: Sequence[Adapter], dtype: torch.dtype) -> AdapterBank:
    """A bank on DEVICE with adapter i in slot i."""
    bank = AdapterBank(adapters[0].metadata.backbone.hidden_size, DEVICE, dtype)
    for slot, adapter in enumerate(adapters):
        bank.write(slot, adapter)
    return bank


def tables_for(bank: AdapterBank, lengths: Sequence[Sequence[int]]) -> BatchTables:
    """Tables on DEVICE of a batch in which slot i has sequences of lengths[i] tokens, without room."""
    batch = BatchTokens.of([(slot, [_blank(length) for length in segment]) for slot, segment in enumerate(lengths)])
    weights = [bank.weights(slot) for slot in batch.slots]
    sizes = TableSizes.of(batch, len(weights[0].addresses))
    block = torch.empty(num_table_bytes(sizes), dtype=torch.uint8)
    fill(carve(block, sizes), batch, weights, sizes.max_length)
    return carve(block.to(DEVICE), sizes)


def _blank(length: int) -> Encoding:
    return Encoding(np.zeros(length, dtype=np.int64), np.zeros(length, dtype=np.int64), False)


def widest(errors: Tensor) -> float:
    """Return the largest absolute value, or NaN if there is one."""
    return float(errors.abs().max())
