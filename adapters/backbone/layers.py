"""The layers of the backbone: Dense and Norm that can be trained, PackedDense and NativeNorm for inference on a CPU.

Dense: y = activation(x W^T + b), and with a residual dropout(y) + residual.
Norm: y = (s - mean(s)) / sqrt(var(s) + eps) * weight + bias, s = x + residual.
"""

import platform
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters.backbone.native import native_norm
from adapters.errors import BackboneError

_FUSED = "gelu"  # the exact one; oneDNN applies it while the product is still in the cache
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {  # by the names in a BERT's config
    "gelu": nn.GELU,
    "gelu_new": lambda: nn.GELU(approximate="tanh"),
    "gelu_pytorch_tanh": lambda: nn.GELU(approximate="tanh"),
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
    "tanh": nn.Tanh,
}


class Dense(nn.Linear):
    """A differentiable dense layer. `activation` is a name in a BERT's config; raises BackboneError for other names."""

    def __init__(
        self, in_features: int, out_features: int, *, activation: str | None = None, dropout_p: float = 0.0
    ) -> None:
        super().__init__(in_features, out_features)
        self.activation_name, self.dropout_p = activation, dropout_p
        if activation is not None and activation not in _ACTIVATIONS:
            raise BackboneError(f"no activation is called {activation!r} here (there are {', '.join(_ACTIVATIONS)})")
        self.activation = nn.Identity() if activation is None else _ACTIVATIONS[activation]()

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """x [T, in_features], residual [T, out_features] -> [T, out_features]."""
        y = self.activation(super().forward(x))
        return cast(Tensor, y if residual is None else F.dropout(y, self.dropout_p, self.training) + residual)


class PackedDense(nn.Module):
    """A Dense for inference on x86: the weight in oneDNN's layout; bias, GELU and residual fused with the product.

    Not differentiable. Row t of the result depends on row t of x alone, bit for bit, for any T > 1.
    """

    def __init__(self, dense: Dense) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(dense.weight.detach(), None)
        self.bias = dense.bias.detach().clone()
        self._fused = _FUSED if dense.activation_name == _FUSED else "none"
        self.activation = nn.Identity() if self._fused == _FUSED else dense.activation

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """x [T, in_features], residual [T, out_features] -> [T, out_features], a new tensor."""
        linear = torch.ops.mkldnn._linear_pointwise
        if residual is None:
            return cast(Tensor, self.activation(linear(x, self.weight, self.bias, self._fused, [], "none")))
        return cast(Tensor, linear.binary(x, residual, self.weight, self.bias, "add"))


class Norm(nn.LayerNorm):
    """A differentiable LayerNorm."""

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """x, residual [T, H] -> [T, H], a new tensor; a residual is added to x in place."""
        return super().forward(x if residual is None else x.add_(residual))


class NativeNorm(nn.Module):
    """A Norm for inference, in one pass over the rows (kernels/norm.c). Not differentiable."""

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight.detach(), norm.bias.detach()
        self.eps = norm.eps

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """x, residual [T, H] -> [T, H], in place in x: a dense layer's output is used for nothing else."""
        return native_norm(x, residual, self.weight, self.bias, self.eps)


def packed_rows(num_rows: int) -> int:
    """Round up to one of a few numbers of rows: oneDNN compiles and keeps 0.8 MB of code for each number it meets."""
    step = 16 if num_rows <= 256 else 32 if num_rows <= 1024 else 64
    return -(-num_rows // step) * step


def can_pack(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether PackedDense supports that device and dtype."""
    on_x86 = device.type == "cpu" and platform.machine() in ("x86_64", "AMD64")
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not on_x86 or not has_onednn:
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())
