"""Calls the C kernels of adapters/backbone/kernels: attention on packed rows, LayerNorm, adapters, pooling and heads.

The installation compiles them if it finds a compiler (hatch_build.py); without them torch computes the same, slower.
Each is one call, which releases the interpreter to other threads. They take tensors in float32 and bfloat16; sums are
float32. The result for a row depends only on its sequence and its adapter, bit for bit.
"""

import ctypes
import hashlib
import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from adapters.backbone.packing import Packing

SOURCES = Path(__file__).parent / "kernels"
LIBRARY = SOURCES / "libkernels.so"

_log = logging.getLogger(__name__)
_int, _pointer = ctypes.c_int64, ctypes.c_void_p
_ARGUMENTS = {
    "attention": [_int, *[_pointer] * 4, *[_int] * 5],
    "adapters": [_int, _pointer, _int, _pointer, _int],
    "norm": [_int, *[_pointer] * 4, *[_int] * 2, ctypes.c_float],
    "mean": [_int, *[_pointer] * 4, *[_int] * 2],
    "dense": [_int, *[_pointer] * 4, *[_int] * 3],
}
_TYPES = {torch.float32: 0, torch.bfloat16: 1}  # numbers as in dispatch.c


@cache
def library() -> ctypes.CDLL | None:
    """Return the compiled kernels, None if they are missing. The first call logs which are used."""
    try:
        found = ctypes.CDLL(str(LIBRARY))
        if not hasattr(found, "adakron_sources") or _int.in_dll(found, "adakron_sources").value != _sources_number():
            raise ValueError("compiled from other sources: python hatch_build.py")
    except (OSError, ValueError) as error:
        _log.warning("attention and adapters run in torch, which is slower: no compiled kernels (%s)", error)
        return None
    found.adakron_width.argtypes, found.adakron_width.restype = [_int, _int], _int
    for name, arguments in _ARGUMENTS.items():
        function = getattr(found, f"adakron_{name}")
        function.argtypes, function.restype = arguments, None
    widths = (found.adakron_width(number, 0) for number in _TYPES.values())
    _log.info(
        "attention and adapters run in compiled kernels, with vectors of %d numbers in float32, %d in bfloat16", *widths
    )
    return found


def _sources_number() -> int:
    """Return the number of the sources beside this module, as `sources_number` in hatch_build.py computes it."""
    files = sorted(path for path in SOURCES.iterdir() if path.suffix in (".c", ".h"))
    digests = [hashlib.sha256(path.read_bytes()).digest() for path in files]
    return int.from_bytes(hashlib.sha256(b"".join(digests)).digest()[:7])


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


def can_take_rows(device: torch.device, dtype: torch.dtype, hidden_size: int) -> bool:
    """Whether `native_norm`, `native_mean` and `native_dense` support rows of that size on that device."""
    return _runs_on(device, dtype, hidden_size)


def _runs_on(device: torch.device, dtype: torch.dtype, row: int) -> bool:
    loaded = library() if device.type == "cpu" and dtype in _TYPES else None
    return loaded is not None and loaded.adakron_width(_TYPES[dtype], row) > 0


def native_attention(qkv: Tensor, packing: Packing, num_heads: int, dropout_p: float = 0.0) -> Tensor:
    """Compute `packed_attention` in C, if `can_attend`: qkv [T, 3 * H] -> [T, H], a new tensor.

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
        _TYPES[qkv.dtype],
        *(_address(tensor) for tensor in (qkv, out, packing.first_rows, packing.lengths)),
        *(num_rows, len(packing.sizes), num_heads, head_size, torch.get_num_threads()),
    )
    return out


def native_norm(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, eps: float) -> None:
    """Compute x = LayerNorm(x + residual) in C, in place: x [T, H]; residual [T, H], weight and bias [H] float32.

    If x is not float32, the residual becomes the result as well, before it is rounded. Raises ValueError for tensors
    that do not fit together, and if not `can_take_rows`.
    """
    loaded, (num_rows, hidden) = library(), x.shape
    if not can_take_rows(x.device, x.dtype, hidden):
        raise ValueError("the kernels in C do not support these rows")
    assert loaded is not None
    _check(residual, torch.float32, num_rows, hidden)
    _check(weight, torch.float32, hidden)
    _check(bias, torch.float32, hidden)
    addresses = (_address(tensor) for tensor in (x, residual, weight, bias))
    loaded.adakron_norm(_TYPES[x.dtype], *addresses, num_rows, hidden, eps)


def native_mean(h: Tensor, packing: Packing) -> Tensor:
    """Average the rows of each sequence in C: h [T, H] -> [N, H] float32.

    Raises ValueError if the packing belongs to another batch, and if not `can_take_rows`.
    """
    loaded, (num_rows, hidden) = library(), h.shape
    if not can_take_rows(h.device, h.dtype, hidden):
        raise ValueError("the kernels in C do not support these rows")
    assert loaded is not None
    if num_rows < packing.sizes.sum():
        raise ValueError("the packing belongs to another batch")
    out = h.new_empty(len(packing.sizes), hidden, dtype=torch.float32)
    starts, lengths = _address(packing.first_rows), _address(packing.lengths)
    loaded.adakron_mean(_TYPES[h.dtype], _address(out), _address(h), starts, lengths, len(out), hidden)
    return out


def native_dense(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute x W^T + b in C, for a few rows: x [n, H], weight [m, H], bias [m] of one dtype -> [n, m] float32.

    Raises ValueError for tensors that do not fit together, and if not `can_take_rows`.
    """
    loaded, (num_rows, hidden), width = library(), x.shape, len(weight)
    if not can_take_rows(x.device, x.dtype, hidden):
        raise ValueError("the kernels in C do not support these rows")
    assert loaded is not None
    _check(weight, x.dtype, width, hidden)
    _check(bias, x.dtype, width)
    out = x.new_empty(num_rows, width, dtype=torch.float32)
    addresses = (_address(tensor) for tensor in (out, x, weight, bias))
    loaded.adakron_dense(_TYPES[x.dtype], *addresses, num_rows, hidden, width)
    return out


def _check(tensor: Tensor, dtype: torch.dtype, *shape: int) -> None:
    if tensor.shape != shape or tensor.dtype != dtype or tensor.device.type != "cpu":
        raise ValueError(
            f"tensors do not fit together: {tuple(tensor.shape)} {tensor.dtype} in the place of {shape} {dtype}"
        )


class NativeAdapters:
    """The adapters of a batch. The caller keeps the tensors at the given addresses alive."""

    def __init__(
        self,
        hidden_size: int,
        dtype: torch.dtype,
        segments: Sequence[tuple[int, int, tuple[int, int], np.ndarray]],
    ) -> None:
        """`segments`, at least one: first row, row after the last, (p, q), addresses [num_layers, 3] of SlotWeights.

        The tensors there are of `dtype`.
        """
        tables = np.empty((len(segments[0][3]), len(segments), 7), dtype=np.int64)  # a layer: Segment in kernels.h
        tables[:, :, :4] = [(start, stop, *bottleneck) for start, stop, bottleneck, _ in segments]
        tables[:, :, 4:] = np.array([addresses for *_, addresses in segments]).transpose(1, 0, 2)
        self._tables, self._hidden_size, self._dtype = tables, hidden_size, dtype
        self._num_rows = int(tables[0, :, 1].max())
        if tables[0, :, 0].min() < 0:
            raise ValueError("a segment begins before row 0")

    def apply(self, layer: int, h: Tensor) -> None:
        """`AdapterBank.apply` for these segments: h [T, H], contiguous, in place."""
        loaded, (num_rows, width) = library(), h.shape
        assert loaded is not None
        if num_rows < self._num_rows or width != self._hidden_size or h.dtype != self._dtype or h.device.type != "cpu":
            raise ValueError("h belongs to another batch")
        table = self._tables[layer]
        loaded.adakron_adapters(_TYPES[self._dtype], _address(h), width, table.ctypes.data, len(table))


def _address(tensor: Tensor) -> int:
    if not tensor.is_contiguous():
        raise ValueError("the kernels in C need contiguous tensors")
    return tensor.data_ptr()
