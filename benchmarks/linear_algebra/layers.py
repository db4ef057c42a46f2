"""The dense layers of a backbone with random weights, what they compute, and the plain products beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Linear:
    """y = x W^T + b."""

    weight: Tensor  # [outputs, inputs]
    bias: Tensor  # [outputs]

    def to(self, dtype: torch.dtype) -> "Linear":
        """A copy in that type."""
        return Linear(self.weight.to(dtype), self.bias.to(dtype))


@dataclass(frozen=True)
class Layer:
    """What is dense in one layer of BERT."""

    qkv: Linear  # H -> 3H
    attention_out: Linear  # H -> H, residual added
    ff_in: Linear  # H -> 4H, GELU
    ff_out: Linear  # 4H -> H

    def to(self, dtype: torch.dtype) -> "Layer":
        """A copy in that type."""
        return Layer(self.qkv.to(dtype), self.attention_out.to(dtype), self.ff_in.to(dtype), self.ff_out.to(dtype))


class Contender(Protocol):
    """One way to compute all layers: h_i = ff_out(gelu(ff_in(attention_out(attended) + h_(i-1)))), and qkv(h_(i-1)).

    Between the two parts of a layer stands attention, which is not measured here; `attended` [T, H] stands for it.
    """

    def __call__(self, x: Tensor, attended: Tensor) -> Tensor:
        """x [T, H], attended [T, H] -> the last layer's output [T, H]."""
        ...


def random_layers(num_layers: int, hidden: int) -> list[Layer]:
    """Weights as large as BERT's at its start."""

    def linear(inputs: int, outputs: int) -> Linear:
        return Linear(torch.randn(outputs, inputs) * 0.02, torch.randn(outputs) * 0.02)

    return [
        Layer(
            linear(hidden, 3 * hidden), linear(hidden, hidden), linear(hidden, 4 * hidden), linear(4 * hidden, hidden)
        )
        for _ in range(num_layers)
    ]


class PlainProducts:
    """The same products by torch.mm and nothing else; every output has its place already."""

    def __init__(self, layers: Sequence[Layer], max_rows: int) -> None:
        linears = [(layer.qkv, layer.attention_out, layer.ff_in, layer.ff_out) for layer in layers]
        self._weights = [linear.weight.t().contiguous() for four in linears for linear in four]
        self._inputs = {size: torch.randn(max_rows, size) for size in {weight.shape[0] for weight in self._weights}}
        self._outputs = {size: torch.empty(max_rows, size) for size in {weight.shape[1] for weight in self._weights}}
        self.flops_per_row = 2 * sum(weight.numel() for weight in self._weights)

    def __call__(self, x: Tensor, attended: Tensor) -> Tensor:
        """Only the number of rows counts."""
        num_rows = len(x)
        for weight in self._weights:
            inputs, outputs = weight.shape
            torch.mm(self._inputs[inputs][:num_rows], weight, out=self._outputs[outputs][:num_rows])
        return x


class ByTorch:
    """torch's own functions, in the type of the weights."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = layers

    def __call__(self, x: Tensor, attended: Tensor) -> Tensor:
        """See Contender."""
        for layer in self._layers:
            before_attention(x, layer.qkv.weight, layer.qkv.bias)
            x = after_attention(x, attended, *weights_after_attention(layer))
        return x


def before_attention(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The first part of a layer."""
    return F.linear(x, weight, bias)


def after_attention(
    x: Tensor, attended: Tensor, w_out: Tensor, b_out: Tensor, w_in: Tensor, b_in: Tensor, w_ff: Tensor, b_ff: Tensor
) -> Tensor:
    """The second part of a layer."""
    return F.linear(F.gelu(F.linear(F.linear(attended, w_out, b_out) + x, w_in, b_in)), w_ff, b_ff)


def weights_after_attention(layer: Layer) -> tuple[Tensor, ...]:
    """As `after_attention` takes them."""
    three = (layer.attention_out, layer.ff_in, layer.ff_out)
    return tuple(tensor for linear in three for tensor in (linear.weight, linear.bias))
