"""Contenders by torch.compile (Inductor): needs a C++ compiler when it runs."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmarks.linear_algebra.layers import Layer, after_attention, before_attention, weights_after_attention


class ByInductor:
    """The two parts of a layer compiled once; weights are arguments."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = layers
        self._before = torch.compile(before_attention, dynamic=True)
        self._after = torch.compile(after_attention, dynamic=True)

    def __call__(self, x: Tensor, attended: Tensor) -> Tensor:
        """See Contender."""
        for layer in self._layers:
            self._before(x, layer.qkv.weight, layer.qkv.bias)
            x = self._after(x, attended, *weights_after_attention(layer))
        return x


class _Before(nn.Module):
    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.weights = _parameters((layer.qkv.weight, layer.qkv.bias))

    def forward(self, x: Tensor) -> Tensor:
        return before_attention(x, *self.weights)


class _After(nn.Module):
    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.weights = _parameters(weights_after_attention(layer))

    def forward(self, x: Tensor, attended: Tensor) -> Tensor:
        return after_attention(x, attended, *self.weights)


def _parameters(tensors: Sequence[Tensor]) -> nn.ParameterList:
    return nn.ParameterList([nn.Parameter(tensor, requires_grad=False) for tensor in tensors])


class ByFrozenInductor:
    """Every layer compiled with its weights as constants, so that Inductor may lay them out."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        torch._dynamo.config.recompile_limit = 4 * len(layers)
        options = {"freezing": True}
        self._layers = [
            (
                torch.compile(_Before(layer), dynamic=True, options=options),
                torch.compile(_After(layer), dynamic=True, options=options),
            )
            for layer in layers
        ]

    def __call__(self, x: Tensor, attended: Tensor) -> Tensor:
        """See Contender."""
        for before, after in self._layers:
            before(x)
            x = after(x, attended)
        return x
