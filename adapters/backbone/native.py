"""Calls the C kernels of adapters/backbone/kernels: attention on packed rows, LayerNorm, adapters of a mixed batch.

The installation compiles them if it finds a compiler (hatch_build.py); without them torch computes the same, slower.
Each is one call, which releases the interpreter to other threads.
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
    """Return the compiled kernels, None if they are missing. The first call logs which are used."""
    try:
        found = ctypes.CDLL(str(LIBRARY))
    except OSError as error:
        _log.warning("attention and adapters run in torch, which is slower: no compiled kernels (%s)", error)
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
    """Return the longest sequence, widest head and widest bottleneck that the kernels support."""
    loaded = library()
    assert loaded is not None
    length, head_size, bottleneck = (_int * 3).in_dll(loaded, "adakron_limits")
    return length, head_size, bottleneck


def can_attend(device: torch.device, dtype: torch.dtype, head_size: int, max_length: int) -> bool:
    """Whether `native_attention` supports heads and sequences of that size on that device."""
    if not _runs_on(device, dtype, head_size):
        return False
    longest, widest, _ = _limits()
    return head_size <= widest and max_length <= longest


def widest_adapter(device: torch.device, dtype: torch.dtype, hidden_size: int) -> int:
    """Return the greatest p * q that `NativeAdapters` supports on that device; 0 if it supports none."""
    return _limits()[2] if _runs_on(device, dtype, hidden_size) else 0


def can_normalise(device: torch.device, dtype: torch.dtype, hidden_size: int) -> bool:
    """Whether `native_norm` supports rows of that size on that device."""
    return _runs_on(device, dtype, hidden_size)


def _runs_on(device: torch.device, dtype: torch.dtype, row: int) -> bool:
    loaded = library() if device.type == "cpu" and dtype == torch.float32 else None
    return loaded is not None and loaded.adakron_width(row) > 0


def native_attention(qkv: Tensor, packing: Packing, num_heads: int, dropout_p: float = 0.0) -> Tensor:
    """Compute `packed_attention` in C, if `can_attend`: qkv [T, 3 * H] float32 -> [T, H], a new tensor.

    Reads the rows in place, without padding. Not differentiable, no dropout. Rows of no sequence become 0.
    """
    loaded, (num_rows, width) = library(), qkv.shape
    assert loaded is not None
    head_size = width // 3 // num_heads
    if dropout_p or not can_attend(qkv.device, qkv.dtype, head_size, packing.max_length):
        raise ValueError("the kernels in C do not support these sequences or heads")
    if num_rows != len(packing.positions) or width != 3 * num_heads * head_size:
        raise ValueError("the packing belongs to another batch, or the number of heads is wrong")
    out = qkv.new_empty(num_rows, width // 3)
    loaded.adakron_attention(
        *(_address(tensor) for tensor in (qkv, out, packing.first_rows, packing.lengths)),
        *(num_rows, len(packing.sizes), num_heads, head_size, torch.get_num_threads()),
    )
    return out


def native_norm(x: Tensor, residual: Tensor | None, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Compute LayerNorm(x + residual) in C, if `can_normalise`: x, residual [T, H] float32 -> x, in place."""
    loaded, (num_rows, hidden) = library(), x.shape
    assert loaded is not None
    others = (x if residual is None else residual, weight, bias)
    if not can_normalise(x.device, x.dtype, hidden) or any(other.dtype != x.dtype for other in others):
        raise ValueError("the kernels in C do not support these rows")
    if [other.shape for other in others] != [x.shape, (hidden,), (hidden,)]:
        raise ValueError("x, residual, weight and bias do not fit together")
    added = None if residual is None else _address(residual)
    loaded.adakron_norm(_address(x), added, _address(weight), _address(bias), num_rows, hidden, eps)
    return x


class NativeAdapters:
    """The adapters of a batch. The caller keeps the tensors at the given addresses alive."""

    def __init__(self, hidden_size: int, segments: Sequence[tuple[int, int, tuple[int, int], np.ndarray]]) -> None:
        """`segments`, at least one: first row, row after the last, (p, q), addresses [num_layers, 3] of SlotWeights."""
        tables = np.empty((len(segments[0][3]), len(segments), 7), dtype=np.int64)  # a layer: Segment in kernels.h
        tables[:, :, :4] = [(start, stop, *bottleneck) for start, stop, bottleneck, _ in segments]
        tables[:, :, 4:] = np.array([addresses for *_, addresses in segments]).transpose(1, 0, 2)
        self._tables, self._hidden_size = tables, hidden_size
        self._num_rows = int(tables[0, :, 1].max())
        if tables[0, :, 0].min() < 0:
            raise ValueError("a segment begins before row 0")

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
            raise ValueError("h belongs to another batch")
        table = self._tables[layer]
        loaded.adakron_adapters(_address(h), width, table.ctypes.data, len(table))


def _address(tensor: Tensor) -> int:
    if not tensor.is_contiguous():
        raise ValueError("the kernels in C need contiguous tensors")
    return tensor.data_ptr()
