"""Dense layers of the backbone: y = activation(x W^T + b), and where a residual is given, dropout(y) + residual."""

import platform
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters.errors import BackboneError

_FUSED = "gelu"  # the exact one; oneDNN computes it while the product is still in the cache
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {  # by the names that a BERT's config may have
    "gelu": nn.GELU,
    "gelu_new": lambda: nn.GELU(approximate="tanh"),
    "gelu_pytorch_tanh": lambda: nn.GELU(approximate="tanh"),
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
    "tanh": nn.Tanh,
}


class Dense(nn.Linear):
    """The differentiable one. `activation` is a name in a BERT's config, else BackboneError; None: none."""

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
    """A Dense for inference on x86: the weight lies as oneDNN wants it, bias, GELU and residual join the product.

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


def packed_rows(num_rows: int) -> int:
    """So many or a few more, out of few numbers: oneDNN makes and keeps code, 0.8 MB, for each number that it meets."""
    step = 16 if num_rows <= 256 else 32 if num_rows <= 1024 else 64
    return -(-num_rows // step) * step


def can_pack(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether PackedDense runs there."""
    on_x86 = device.type == "cpu" and platform.machine() in ("x86_64", "AMD64")
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not on_x86 or not has_onednn:
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())
