"""The AdaKron adapter and its mixture (Braga, Raganato, Pasi, LREC-COLING 2024).

With hidden size H and bottleneck r = p * q, on the output h of a feed-forward block's second linear layer:

    a = W_a h + b_a          W_a [p, H]
    b = W_b h + b_b          W_b [q, H]
    z = b (x) a              z [r],  z[j * p + i] = b_j * a_i
    h <- h + W_up GELU(z) + b_up      W_up [H, r]
"""

import math
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Initialisation = Literal["published", "identity", "scaled", "unit"]


def kronecker(b: Tensor, a: Tensor) -> Tensor:
    """z[..., j * p + i] = b[..., j] * a[..., i]: the Kronecker product of two vectors, batched.

    b [..., q], a [..., p] -> [..., q * p], a new tensor of their dtype.
    """
    return (b.unsqueeze(-1) * a.unsqueeze(-2)).flatten(-2)


class AdaKron(nn.Module):
    """One adapter at one site: h [..., H] -> [..., H], a new tensor."""

    def __init__(self, hidden_size: int, p: int, q: int) -> None:
        super().__init__()
        self.down_a = nn.Linear(hidden_size, p)
        self.down_b = nn.Linear(hidden_size, q)
        self.up = nn.Linear(p * q, hidden_size)

    def forward(self, h: Tensor) -> Tensor:
        """Compute the equation of this module's docstring."""
        z = kronecker(self.down_b(h), self.down_a(h))
        return cast(Tensor, h + self.up(F.gelu(z)))

    @torch.no_grad()
    def initialise(self, scheme: Initialisation) -> None:
        """Draw new weights, in place; see `initialise`."""
        initialise(self, scheme)


class MAdaKron(nn.Module):
    """A mixture of AdaKron adapters: experts for W_b (partial), or for W_a and W_b (full).

    In training one expert of each projection is drawn at random per call; otherwise the experts' average is
    used. A projection is linear, so averaging outputs is averaging weights: `merge` gives the plain adapter.
    """

    def __init__(self, hidden_size: int, p: int, q: int, *, experts_a: int, experts_b: int) -> None:
        super().__init__()
        self.down_a = nn.ModuleList(nn.Linear(hidden_size, p) for _ in range(experts_a))
        self.down_b = nn.ModuleList(nn.Linear(hidden_size, q) for _ in range(experts_b))
        self.up = nn.Linear(p * q, hidden_size)

    def forward(self, h: Tensor) -> Tensor:
        """h [..., H] -> [..., H], a new tensor."""
        z = kronecker(self._project(self.down_b, h), self._project(self.down_a, h))
        return cast(Tensor, h + self.up(F.gelu(z)))

    def _project(self, experts: nn.ModuleList, h: Tensor) -> Tensor:
        if self.training:
            return cast(Tensor, self._draw(experts)(h))
        return torch.stack([expert(h) for expert in experts]).mean(0)

    def _draw(self, experts: nn.ModuleList) -> nn.Module:
        return experts[int(torch.randint(len(experts), ()))]

    @torch.no_grad()
    def initialise(self, scheme: Initialisation) -> None:
        """Draw new weights, in place, for each expert; see `initialise`."""
        initialise(self, scheme)

    @torch.no_grad()
    def merge(self) -> AdaKron:
        """Return the AdaKron adapter that computes exactly what this mixture computes in evaluation."""
        (weight_a, bias_a), (weight_b, bias_b) = _average(self.down_a), _average(self.down_b)
        merged = AdaKron(self.up.out_features, len(bias_a), len(bias_b)).to(weight_a)
        for linear, weight, bias in (
            (merged.down_a, weight_a, bias_a),
            (merged.down_b, weight_b, bias_b),
            (merged.up, self.up.weight, self.up.bias),
        ):
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
        return merged


def _average(experts: nn.ModuleList) -> tuple[Tensor, Tensor]:
    linears = [cast(nn.Linear, expert) for expert in experts]
    weight = torch.stack([linear.weight for linear in linears]).mean(0)
    bias = torch.stack([linear.bias for linear in linears]).mean(0)
    return weight, bias


def initialise(adapter: AdaKron | MAdaKron, scheme: Initialisation) -> None:
    """Draw new weights for `adapter`, in place.

    `published`: weights normal with deviation 0.02, biases zero, as in the authors' code. The product of two such
    projections starts near zero, so learning starts slowly.

    The other schemes start as the identity: W_up and b_up are zero, W_a and W_b uniform as `nn.Linear` draws them.
    `identity` changes nothing else: both projections have a deviation below one, and their product a smaller one.
    `scaled` multiplies W_b by sqrt(3): for h of unit variance b has unit variance, and z the variance of a.
    `unit` sets b_b = 1: z starts near q copies of a, as in a plain bottleneck.
    """
    for name, linear in adapter.named_modules():
        if not isinstance(linear, nn.Linear):
            continue
        if scheme == "published":
            nn.init.normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
            continue
        linear.reset_parameters()
        if name == "up":
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        elif name.startswith("down_b") and scheme == "scaled":
            linear.weight.mul_(math.sqrt(3.0))
        elif name.startswith("down_b") and scheme == "unit":
            nn.init.ones_(linear.bias)
