"""Bottleneck adapters: a plain one at AdaKron's site (Pfeiffer), and two in each layer (Houlsby)."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters.backbone.packing import Packing
from adapters.method.adakron import Initialisation
from service.train.fit.methods.tuned import LayerTuning

HOULSBY_DEVIATION = 1e-3  # the authors' initial weights, truncated at two deviations


class Bottleneck(nn.Module):
    """A plain adapter, h <- h + W_up GELU(W_down h + b_down) + b_up, at AdaKron's site (Pfeiffer et al. 2021).

    AdaKron without the Kronecker product: one projection of width r instead of two of widths p and q. On BERT-base 48
    wide: 894,528 parameters, 0.9 million; 32 wide: 599,424, 0.6 million.
    """

    def __init__(self, hidden_size: int, width: int) -> None:
        super().__init__()
        self.down = nn.Linear(hidden_size, width)
        self.up = nn.Linear(width, hidden_size)

    def forward(self, h: Tensor) -> Tensor:
        """h [..., H] -> [..., H], a new tensor."""
        return h + self.change(h)

    def change(self, h: Tensor) -> Tensor:
        """Compute the summand W_up GELU(W_down h + b_down) + b_up: h [..., H] -> [..., H]."""
        return cast(Tensor, self.up(F.gelu(self.down(h))))

    @torch.no_grad()
    def initialise(self, scheme: Initialisation) -> None:
        """`published` draws weights with deviation 0.02 and zeroes biases; other schemes start as the identity."""
        if scheme == "published":
            for linear in (self.down, self.up):
                nn.init.normal_(linear.weight, std=0.02)
                nn.init.zeros_(linear.bias)
            return
        self.down.reset_parameters()
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)


class Houlsby(LayerTuning):
    """A plain adapter after attention's output, and one after the feed-forward block's (Houlsby et al., ICML 2019).

    Both before dropout, residual and LayerNorm. Exact GELU, as in the authors' code; the LayerNorms stay frozen, as in
    AdapterHub. On BERT-base 24 wide, half of Pfeiffer48 at twice the sites: 903,744 parameters, 0.9 million.
    """

    def __init__(self, hidden_size: int, width: int) -> None:
        super().__init__()
        self.attention = Bottleneck(hidden_size, width)
        self.feed_forward = Bottleneck(hidden_size, width)

    def after_attention(self, h: Tensor, packing: Packing) -> Tensor:
        """Apply the first adapter: h [T, H] -> [T, H]."""
        return cast(Tensor, self.attention(h))

    def after_feed_forward(self, h: Tensor, packing: Packing) -> Tensor:
        """Apply the second adapter: h [T, H] -> [T, H]."""
        return cast(Tensor, self.feed_forward(h))

    @torch.no_grad()
    def initialise(self, scheme: Initialisation) -> None:
        """`published` draws weights with deviation 0.001, truncated; other schemes start as the identity."""
        limit = 2 * HOULSBY_DEVIATION
        for adapter in (self.attention, self.feed_forward):
            adapter.initialise(scheme)
            if scheme == "published":
                for linear in (adapter.down, adapter.up):
                    nn.init.trunc_normal_(linear.weight, std=HOULSBY_DEVIATION, a=-limit, b=limit)
