"""The kernels of adapters/backbone/kernels, in C: attention on packed rows, LayerNorm, the adapters of a mixed batch.

Installing compiles them, where it finds a compiler (hatch_build.py); without them torch does the same more slowly.
Each is one call, during which other threads have the interpreter.
"""

import ctypes
import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from adapters.backbone.packing import Packing

LIBRARY = Path(__file__).parent / "kernels" / "libkernels.so"

_log = logging.getLogger(__name__)
_int, _pointer = ctypes.c_int64, ctypes.c_void_p


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels; None where there are none. The first call says in the log which."""
    try:
        found = ctypes.CDLL(str(LIBRARY))
    except OSError as error:
        _log.warning("attention and adapters run in torch, slower: no compiled kernels (%s)", error)
        return None
    found.adakron_width.argtypes, found.adakron_width.restype = [_int], _int
    found.adakron_attention.argtypes = [_pointer] * 4 + [_int] * 5
    found.adakron_adapters.argtypes = [_pointer, _int, _pointer, _int]
    found.adakron_norm.argtypes = [_pointer] * 4 + [_int] * 2 + [ctypes.c_float]
    for function in (found.adakron_attention, found.adakron_adapters, found.adakron_norm):
        function.restype = None
    _log.info("attention and adapters run in compiled kernels, with vectors of %d floats", found.adakron_width(0))
    return found


@cache
def _limits() -> tuple[int, int, int]:
    """The longest sequence, the widest head and the widest bottleneck that they take."""
    loaded = library()
    assert loaded is not None
    length, head_size, bottleneck = (_int * 3).in_dll(loaded, "adakron_limits")
    return length, head_size, bottleneck


def can_attend(device: torch.device, dtype: torch.dtype, head_size: int, max_length: int) -> bool:
    """Whether `native_attention` takes heads and sequences of that size there."""
    if not _runs_on(device, dtype, head_size):
        return False
    longest, widest, _ = _limits()
    return head_size <= widest and max_length <= longest


def widest_adapter(device: torch.device, dtype: torch.dtype, hidden_size: int) -> int:
    """The greatest p * q that `NativeAdapters` takes there; 0 where it takes none."""
    return _limits()[2] if _runs_on(device, dtype, hidden_size) else 0


def can_normalise(device: torch.device, dtype: torch.dtype, hidden_size: int) -> bool:
    """Whether `native_norm` takes rows of that size there."""
    return _runs_on(device, dtype, hidden_size)


def _runs_on(device: torch.device, dtype: torch.dtype, row: int) -> bool:
    loaded = library() if device.type == "cpu" and dtype == torch.float32 else None
    return loaded is not None and loaded.adakron_width(row) > 0


def native_attention(qkv: Tensor, packing: Packing, num_heads: int, dropout_p: float = 0.0) -> Tensor:
    """What `packed_attention` computes, where `can_attend` says so: qkv [T, 3 * H] float32 -> [T, H], a new tensor.

    Reads the rows where they lie. Not differentiable; there is no dropout. Rows of no sequence become 0.
    """
    loaded, (num_rows, width) = library(), qkv.shape
    assert loaded is not None
    head_size = width // 3 // num_heads
    if dropout_p or not can_attend(qkv.device, qkv.dtype, head_size, packing.max_length):
        raise ValueError("these sequences or heads are not for the kernels in C")
    if num_rows != len(packing.positions) or width != 3 * num_heads * head_size:
        raise ValueError("a packing of another batch, or another number of heads")
    out = qkv.new_empty(num_rows, width // 3)
    loaded.adakron_attention(
        *(_address(tensor) for tensor in (qkv, out, packing.first_rows, packing.lengths)),
        *(num_rows, len(packing.sizes), num_heads, head_size, torch.get_num_threads()),
    )
    return out


def native_norm(x: Tensor, residual: Tensor | None, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """LayerNorm of x + residual, where `can_normalise` says so: x, residual [T, H] float32 -> [T, H], in x's place."""
    loaded, (num_rows, hidden) = library(), x.shape
    assert loaded is not None
    others = (x if residual is None else residual, weight, bias)
    if not can_normalise(x.device, x.dtype, hidden) or any(other.dtype != x.dtype for other in others):
        raise ValueError("these rows are not for the kernels in C")
    if [other.shape for other in others] != [x.shape, (hidden,), (hidden,)]:
        raise ValueError("rows of another batch")
    added = None if residual is None else _address(residual)
    loaded.adakron_norm(_address(x), added, _address(weight), _address(bias), num_rows, hidden, eps)
    return x


class NativeAdapters:
    """The adapters of a batch, for `AdapterBank`, who sees to it that what the addresses show lives on."""

    def __init__(self, hidden_size: int, segments: Sequence[tuple[int, int, tuple[int, int], np.ndarray]]) -> None:
        """`segments`, at least one: first row, row after the last, (p, q), addresses [num_layers, 3] of SlotWeights."""
        tables = np.empty((len(segments[0][3]), len(segments), 7), dtype=np.int64)  # a layer: Segment in kernels.h
        tables[:, :, :4] = [(start, stop, *bottleneck) for start, stop, bottleneck, _ in segments]
        tables[:, :, 4:] = np.array([addresses for *_, addresses in segments]).transpose(1, 0, 2)
        self._tables, self._hidden_size = tables, hidden_size
        self._num_rows = int(tables[0, :, 1].max())
        if tables[0, :, 0].min() < 0:
            raise ValueError("rows before the first")

    def apply(self, layer: int, h: Tensor) -> None:
        """`AdapterBank.apply` for these segments: h [T, H] float32, contiguous, in place."""
        loaded, (num_rows, width) = library(), h.shape
        assert loaded is not None
        if (
            num_rows < self._num_rows
            or width != self._hidden_size
            or h.dtype != torch.float32
            or h.device.type != "cpu"
        ):
            raise ValueError("h is not of this batch")
        table = self._tables[layer]
        loaded.adakron_adapters(_address(h), width, table.ctypes.data, len(table))


def _address(tensor: Tensor) -> int:
    if not tensor.is_contiguous():
        raise ValueError("rows apart are not for the kernels in C")
    return tensor.data_ptr()
