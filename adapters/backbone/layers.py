"""The layers of the backbone: Dense and Norm that can be trained; PackedDense, NativeDense and NativeNorm for a CPU.

Dense: y = activation(x W^T + b).
Norm: y = (s - mean(s)) / sqrt(var(s) + eps) * weight + bias, s = x + residual; y is the next residual, too.
"""

import platform
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from adapters.backbone.native import native_dense, native_norm
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

    def __init__(self, in_features: int, out_features: int, *, activation: str | None = None) -> None:
        super().__init__(in_features, out_features)
        self.activation_name = activation
        if activation is not None and activation not in _ACTIVATIONS:
            raise BackboneError(f"no activation is called {activation!r} here (there are {', '.join(_ACTIVATIONS)})")
        self.activation = nn.Identity() if activation is None else _ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        """x [T, in_features] -> [T, out_features]."""
        return cast(Tensor, self.activation(super().forward(x)))


class PackedDense(nn.Module):
    """A Dense for inference on x86: the weight in oneDNN's layout; bias and GELU fused with the product.

    Not differentiable. Row t of the result depends on row t of x alone, bit for bit.
    """

    def __init__(self, dense: Dense) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(dense.weight.detach(), None)
        self.bias = dense.bias.detach().clone()
        self._fused = _FUSED if dense.activation_name == _FUSED else "none"
        self.activation = nn.Identity() if self._fused == _FUSED else dense.activation

    def forward(self, x: Tensor) -> Tensor:
        """x [T, in_features] -> [T, out_features], a new tensor."""
        if len(x) == 1:  # oneDNN sums the product of one row in another order
            return cast(Tensor, self(x.expand(2, -1))[:1])
        y = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, self._fused, [], "none")
        return cast(Tensor, self.activation(y))


class Norm(nn.LayerNorm):
    """A differentiable LayerNorm."""

    def forward(self, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """x, residual [T, H] -> y [T, H], a new tensor, twice; the residual is added to x in place."""
        y = super().forward(x.add_(residual))
        return y, y


class NativeDense(nn.Module):
    """A dense layer for inference on a few rows, in float32. Not differentiable; a row's result depends on it alone."""

    def __init__(self, dense: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = dense.weight.detach().float(), dense.bias.detach().float()

    def forward(self, x: Tensor) -> Tensor:
        """x [n, in_features] -> [n, out_features] float32."""
        return native_dense(x.float(), self.weight, self.bias)


class NativeNorm(nn.Module):
    """A Norm for inference, in one pass over the rows (kernels/norm.c). Not differentiable."""

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight.detach().float(), norm.bias.detach().float()
        self.eps = norm.eps

    def forward(self, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """x [T, H], residual [T, H] float32 -> y in x's dtype and in float32, in place in x and in the residual.

        If x is float32, both results are x, and the residual does not change.
        """
        native_norm(x, residual, self.weight, self.bias, self.eps)
        return x, x if x.dtype == residual.dtype else residual


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
