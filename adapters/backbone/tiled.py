"""Dense layers in bfloat16 with the tiles of AMX (kernels/tiled.c), and which dense layer is the fastest on a machine.

oneDNN sums the products of some sizes in an order that depends on the number of rows; these kernels do not
(docs/decisions/0017-types.md).
"""

import ctypes
from functools import cache
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters.backbone.layers import Dense, PackedDense, can_pack
from adapters.backbone.native import library

_FUSED = "gelu"
_CHANNELS = 32  # of a panel of weights: two tiles
_TILE = 16  # channels of a tile, and pairs of the depth
_STEP = 32  # the depth is a multiple of it

_int, _pointer = ctypes.c_int64, ctypes.c_void_p


class TiledDense(nn.Module):
    """A Dense for inference in bfloat16; bias and GELU are fused with the product, in float32.

    Not differentiable. Row t of the result depends on row t of x alone, bit for bit, for any number of rows.
    """

    def __init__(self, dense: Dense) -> None:
        super().__init__()
        self.width, self.depth = dense.weight.shape
        self.weight = to_tiles(dense.weight.detach().bfloat16())
        self.bias = F.pad(dense.bias.detach().float(), (0, -self.width % _CHANNELS))
        self._with_gelu = dense.activation_name == _FUSED
        self.activation = nn.Identity() if self._with_gelu else dense.activation

    def forward(self, x: Tensor) -> Tensor:
        """x [T, in_features] bfloat16 -> [T, out_features] bfloat16, a new tensor. Raises ValueError for another x."""
        num_rows = len(x)
        if x.shape != (num_rows, self.depth) or x.dtype != torch.bfloat16 or not x.is_contiguous():
            raise ValueError(f"a product with tiles needs contiguous rows of {self.depth} numbers in bfloat16")
        kernels = _kernels()
        assert kernels is not None
        if missing := -self.depth % _STEP:
            x = F.pad(x, (0, missing))
        out = x.new_empty(num_rows, self.width)
        kernels.adakron_tiled_dense(
            *(tensor.data_ptr() for tensor in (x, out, self.weight, self.bias)),
            *(num_rows, x.shape[1], self.width, self._with_gelu, torch.get_num_threads()),
        )
        return cast(Tensor, self.activation(out))


def to_tiles(weight: Tensor) -> Tensor:
    """Order weight [channels, depth] bfloat16 as kernels/tiled.c reads it, filled up with zeros.

    -> [panels, steps of the depth, 2 tiles, 16 pairs of the depth, 16 channels, 2].
    """
    channels, depth = weight.shape
    filled = F.pad(weight, (0, -depth % _STEP, 0, -channels % _CHANNELS))
    pairs = filled.view(filled.shape[0] // _CHANNELS, 2, _TILE, filled.shape[1] // _STEP, _TILE, 2)
    return pairs.permute(0, 3, 1, 4, 2, 5).contiguous()


def can_tile(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether TiledDense supports that device and dtype: a CPU with AMX that Linux lets this process use."""
    return device.type == "cpu" and dtype == torch.bfloat16 and _kernels() is not None


def fastest_dense(device: torch.device, dtype: torch.dtype) -> type[TiledDense] | type[PackedDense] | None:
    """Return the class of dense layers for inference on that device in that dtype; None: only Dense supports it."""
    if can_tile(device, dtype):
        return TiledDense
    return PackedDense if can_pack(device, dtype) else None


@cache
def _kernels() -> ctypes.CDLL | None:
    """Return the compiled kernels with the types of the tiled product; None if this process cannot use tiles."""
    found = library()
    if found is None or not found.adakron_can_tile():
        return None
    found.adakron_tiled_dense.argtypes, found.adakron_tiled_dense.restype = [*[_pointer] * 4, *[_int] * 5], None
    return found
