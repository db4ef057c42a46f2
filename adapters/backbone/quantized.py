"""Dense layers in int8 on a CPU: 8-bit weights with a scale for each channel, inputs quantised row by row.

W[c, k] = weight_scale[c] * w[c, k], w in -127 ... 127, rounded when the backbone is loaded. x[t, k] = scale[t] *
(b[t, k] - zero[t]), b in 0 ... 255, at run time. The product y[t, c] = scale[t] * weight_scale[c] * (sum over k of b w,
less zero[t] * sum over k of w) + bias[c] is an exact sum of integers, scaled in float32 (kernels/int8.c). The few
weights far beyond their channel's others are cut; the rest of them is multiplied in float32. All other parts of the
backbone stay in float32 (docs/decisions/0017-types.md).
"""

import ctypes
import platform
from functools import cache
from typing import cast

import torch
from torch import Tensor, nn

from adapters.backbone.encoder import Backbone
from adapters.backbone.layers import Dense
from adapters.backbone.native import library
from adapters.backbone.source import LoadedBackbone, load_backbone
from adapters.errors import BackboneError

INT8 = "int8"
_FUSED = "gelu"
_MAX_WEIGHT = 127
_OUTLIER = 16.0
_MAX_OUTLIERS = 64  # of a layer
_MAX_DEPTH = 65_536  # 255 * 127 * depth must fit into 32 bits
_ROW_BYTES = 8  # of the scale and the zero of a row
_TILE_ROWS = 16  # of AMX
_BYTES = 4  # neighbours in a row that one instruction multiplies and adds
AMX_HINT = "on a CPU with AMX, bfloat16 computes more tokens per second than int8 from some 100 tokens a batch on"
_NO_VNNI = "this processor has no instructions for int8 products (AVX512-VNNI or AVX-VNNI)"

_int, _pointer = ctypes.c_int64, ctypes.c_void_p


def why_not_int8(device: torch.device | str) -> str | None:
    """Return the reason why this machine cannot compute in int8, or gains nothing from it; None: it can."""
    if torch.device(device).type != "cpu":
        return f"int8 is for a CPU, and the device is {device}"
    if platform.machine() not in ("x86_64", "AMD64"):
        return f"int8 is for processors with AVX512-VNNI or AVX-VNNI, and this one is {platform.machine()}"
    if _kernels() is None:
        return "int8 needs the compiled kernels, and there are none (install a C compiler, run `python hatch_build.py`)"
    return None if int8_lanes() else _NO_VNNI


def load_packed(name: str, *, device: torch.device | str = "cpu", dtype: str) -> LoadedBackbone:
    """Load a backbone for inference, in the type float32, bfloat16, float16 or int8.

    Raises BackboneError, with a remedy when the machine does not support int8.
    """
    if dtype != INT8:
        loaded = load_backbone(name, device=device, dtype=getattr(torch, dtype))
        loaded.backbone.pack()
        return loaded
    if reason := why_not_int8(device):
        raise BackboneError(f"ADAKRON_DTYPE=int8 (--dtype): {reason}; set ADAKRON_DTYPE=auto")
    loaded = load_backbone(name, device=device, dtype=torch.float32)
    quantize(loaded.backbone)
    return loaded


def dtype_name(backbone: Backbone) -> str:
    """Return the type that `backbone` computes in, as ADAKRON_DTYPE names it."""
    is_quantized = any(isinstance(module, QuantizedDense) for module in backbone.modules())
    return INT8 if is_quantized else str(backbone.dtype).removeprefix("torch.")


def quantize(backbone: Backbone) -> Backbone:
    """Switch a float32 backbone to int8 for inference, in place; no longer differentiable.

    Raises BackboneError for layers whose sizes the kernels do not support.
    """
    for layer in backbone.layers:
        for name, module in list(layer.named_children()):
            if isinstance(module, Dense):
                setattr(layer, name, QuantizedDense(module))
    backbone.pack()
    backbone.round_rows = int  # these products take any number of rows, so none are added
    return backbone


class QuantizedDense(nn.Module):
    """A Dense for inference whose product is in int8; bias and GELU are fused with it, in float32.

    Not differentiable. Row t of the result depends on row t of x alone, bit for bit, for any number of rows. A row with
    NaN or infinity gives NaN. Raises BackboneError if the kernels do not support a layer of that size.
    """

    def __init__(self, dense: Dense) -> None:
        super().__init__()
        self.width, self.depth = dense.weight.shape
        lanes = int8_lanes(self.depth, self.width)
        if not lanes:
            raise BackboneError(
                f"ADAKRON_DTYPE=int8 (--dtype): no kernel multiplies {self.depth} by {self.width} numbers in int8 on "
                "this machine; set ADAKRON_DTYPE=auto"
            )
        smooth, self.outliers, self.outlier_weights = split_outliers(dense.weight.detach())
        weight, self.weight_scales = quantize_weight(smooth)
        self.sums = weight.sum(1, dtype=torch.int32)
        self.weight = to_blocks(weight, lanes)
        self.bias = dense.bias.detach().clone()
        self.with_tiles = int8_tiles(self.depth, self.width)  # AMX, with the same result
        self._with_gelu = dense.activation_name == _FUSED
        self.activation = nn.Identity() if self._with_gelu else dense.activation

    def forward(self, x: Tensor) -> Tensor:
        """x [T, in_features] float32 -> [T, out_features] float32, a new tensor."""
        num_rows = len(x)
        if x.shape != (num_rows, self.depth) or x.dtype != torch.float32 or not x.is_contiguous():
            raise ValueError(f"a product in int8 needs contiguous rows of {self.depth} numbers in float32")
        kernels = _kernels()
        assert kernels is not None
        out = x.new_empty(num_rows, self.width)
        rounded = -(-num_rows // _TILE_ROWS) * _TILE_ROWS
        scratch = torch.empty(rounded * (self.depth + _ROW_BYTES), dtype=torch.uint8)
        kernels.adakron_int8_dense(
            *(tensor.data_ptr() for tensor in (x, out, scratch, self.weight, self.sums, self.weight_scales, self.bias)),
            *(self.outliers.data_ptr(), self.outlier_weights.data_ptr(), len(self.outliers)),
            *(num_rows, self.depth, self.width, self._with_gelu, self.with_tiles, torch.get_num_threads()),
        )
        return cast(Tensor, self.activation(out))


def split_outliers(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cut weights [channels, depth] that are over 16 times their channel's mean size down to that; at most 64 of them.

    Returns the cut weights; the places [n, 2] int32 (channel, place in the depth), ascending; the parts cut off, [n].
    One such weight would make the scale of its channel, and so the rounding of all its weights, too coarse.
    """
    most = _OUTLIER * weight.abs().mean(1, keepdim=True)
    rest = weight - torch.minimum(torch.maximum(weight, -most), most)
    kept = torch.zeros_like(rest).view(-1)
    largest = rest.abs().view(-1).topk(min(_MAX_OUTLIERS, rest.numel())).indices
    kept[largest] = rest.view(-1)[largest]
    rest = kept.view_as(rest)
    places = rest.nonzero()
    return weight - rest, places.to(torch.int32).contiguous(), rest[places[:, 0], places[:, 1]]


def quantize_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round weight [channels, depth] to (int8 [channels, depth], scales [channels] float32), symmetrically."""
    largest = weight.abs().amax(1)
    scales = torch.where(largest > 0, largest / _MAX_WEIGHT, 1.0)
    return torch.round(weight / scales[:, None]).to(torch.int8), scales


def to_blocks(weight: Tensor, lanes: int) -> Tensor:
    """Order weight [channels, depth] int8 as kernels/int8.c reads it -> a flat tensor.

    Blocks of 4 vectors of channels (2 if a vector has 8 lanes), the last ones of 1; in a block four neighbours of the
    depth lie side by side, then the channels, then the depth.
    """
    channels, depth = weight.shape
    block = lanes * (4 if lanes == 16 else 2)
    whole = channels // block * block
    parts = [
        part.view(-1, size, depth // _BYTES, _BYTES).transpose(1, 2).reshape(-1)
        for part, size in ((weight[:whole], block), (weight[whole:], lanes))
        if len(part)
    ]
    return torch.cat(parts)


def int8_lanes(depth: int = 16, width: int = 16) -> int:
    """Return the lanes of the vectors for a dense layer of that size; 0 if no kernel supports it on this machine."""
    kernels = _kernels()
    return 0 if kernels is None or depth > _MAX_DEPTH else int(kernels.adakron_int8_lanes(depth, width))


def int8_tiles(depth: int = 64, width: int = 16) -> bool:
    """Whether AMX multiplies a dense layer of that size on this machine."""
    kernels = _kernels()
    return kernels is not None and bool(kernels.adakron_int8_tiles(depth, width))


@cache
def _kernels() -> ctypes.CDLL | None:
    """Return the compiled kernels with the types of their int8 functions; None if they are missing."""
    found = library()
    if found is not None:
        found.adakron_int8_lanes.argtypes, found.adakron_int8_lanes.restype = [_int] * 2, _int
        found.adakron_int8_tiles.argtypes, found.adakron_int8_tiles.restype = [_int] * 2, _int
        found.adakron_int8_dense.argtypes, found.adakron_int8_dense.restype = [*[_pointer] * 9, *[_int] * 7], None
    return found
