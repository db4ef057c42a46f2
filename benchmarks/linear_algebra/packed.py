"""Contenders inside torch that lay the weights out beforehand: oneDNN and MKL."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.linear_algebra.layers import Layer, Linear

_ONEDNN = torch.ops.mkldnn._linear_pointwise


class ByOneDnn:
    """oneDNN's own layout; bias, GELU and residual join the product. Takes and gives float32, computes in `dtype`."""

    def __init__(self, layers: Sequence[Layer], dtype: torch.dtype = torch.float32) -> None:
        self._dtype = dtype
        self._layers = [
            tuple(self._pack(linear.to(dtype)) for linear in (one.qkv, one.attention_out, one.ff_in, one.ff_out))
            for one in layers
        ]

    @staticmethod
    def _pack(linear: Linear) -> tuple[Tensor, Tensor]:
        return torch.ops.mkldnn._reorder_linear_weight(linear.weight, None), linear.bias

    def __call__(self, x: Tensor, attended: Tensor) -> Tensor:
        """See Contender."""
        x, attended = x.to(self._dtype), attended.to(self._dtype)
        for qkv, attention_out, ff_in, ff_out in self._layers:
            _ONEDNN(x, *qkv, "none", [], "none")
            x = _ONEDNN.binary(attended, x, *attention_out, "add")
            x = _ONEDNN(_ONEDNN(x, *ff_in, "gelu", [], "none"), *ff_out, "none", [], "none")
        return x.float()


class ByShards:
    """The rows cut into one shard a thread; each thread computes its own from end to end, alone."""

    def __init__(self, contender: ByOneDnn, num_threads: int) -> None:
        self._contender, self._num_threads = contender, num_threads
        self._pool = ThreadPoolExecutor(num_threads, initializer=_one_thread)
        list(self._pool.map(lambda _: None, range(num_threads)))
        torch.set_num_threads(num_threads)  # the initializer sets the process's number as well as its thread's

    def __call__(self, x: Tensor, attended: Tensor) -> Tensor:
        """See Contender."""
        shards = x.tensor_split(self._num_threads), attended.tensor_split(self._num_threads)
        return torch.cat(list(self._pool.map(self._run, *shards)))

    def _run(self, x: Tensor, attended: Tensor) -> Tensor:
        with torch.no_grad():
            return self._contender(x, attended)


def _one_thread() -> None:
    torch.get_num_threads()  # the first look in a thread sets the process's number there
    torch.set_num_threads(1)


class ByMkl:
    """MKL's packed product, with a layout for each number of rows; for others torch takes plain MKL."""

    def __init__(self, layers: Sequence[Layer], numbers_of_rows: Sequence[int]) -> None:
        self._layers = layers
        self._packed = {
            (id(linear), num_rows): torch.ops.mkl._mkl_reorder_linear_weight(linear.weight, num_rows)
            for layer in layers
            for linear in (layer.qkv, layer.attention_out, layer.ff_in, layer.ff_out)
            for num_rows in numbers_of_rows
        }

    def __call__(self, x: Tensor, attended: Tensor) -> Tensor:
        """See Contender."""
        for layer in self._layers:
            self._linear(x, layer.qkv)
            x = self._linear(attended, layer.attention_out).add_(x)
            x = self._linear(F.gelu(self._linear(x, layer.ff_in)), layer.ff_out)
        return x

    def _linear(self, x: Tensor, linear: Linear) -> Tensor:
        packed = self._packed.get((id(linear), len(x)))
        if packed is None:
            return F.linear(x, linear.weight, linear.bias)
        return torch.ops.mkl._mkl_linear(x, packed, linear.weight, linear.bias, len(x))
