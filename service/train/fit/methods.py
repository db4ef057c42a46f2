"""The methods of training: AdaKron and its mixtures, and for comparison methods that cannot be served here.

Each is an AdapterModel with the same pooling and head, trained by the same loop; they differ in the other parameters
that learn.
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters.backbone.encoder import Backbone
from adapters.config import AdapterConfig
from adapters.method.adakron import Initialisation, MAdaKron
from adapters.method.model import AdapterModel
from service.train.recipes import Method


class Bottleneck(nn.Module):
    """A plain adapter, h <- h + W_up GELU(W_down h + b_down) + b_up, at AdaKron's site (Pfeiffer et al. 2021).

    AdaKron without the Kronecker product: one projection of width r instead of two of widths p and q.
    """

    def __init__(self, hidden_size: int, width: int) -> None:
        super().__init__()
        self.down = nn.Linear(hidden_size, width)
        self.up = nn.Linear(width, hidden_size)

    def forward(self, h: Tensor) -> Tensor:
        """h [..., H] -> [..., H], a new tensor."""
        return cast(Tensor, h + self.up(F.gelu(self.down(h))))

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


class HeadModel(AdapterModel):
    """Only the head learns, on the frozen backbone."""

    def __init__(self, backbone: Backbone, config: AdapterConfig) -> None:
        super().__init__(backbone, config)
        self.layers = nn.ModuleDict()


class FullModel(HeadModel):
    """Full fine-tuning: every weight of the encoder learns, and its pooler if it is used; there are no adapters."""

    def __init__(self, backbone: Backbone, config: AdapterConfig) -> None:
        super().__init__(backbone, config)
        self.encoder = backbone.requires_grad_(True)  # as a submodule it is trained and saved
        backbone.pooler.requires_grad_(config.task.pooling == "pooler")


def build_model(method: Method, experts: int, backbone: Backbone, config: AdapterConfig) -> AdapterModel:
    """Build the model of `method`, not initialised; `experts` is the number per projection of a mixture."""
    hidden, p, q = config.backbone.hidden_size, config.p, config.q
    if method == "full":
        return FullModel(backbone, config)
    if method == "head":
        return HeadModel(backbone, config)
    make: dict[Method, Callable[[], nn.Module] | None] = {
        "adakron": None,
        "madakron-partial": lambda: MAdaKron(hidden, p, q, experts_a=1, experts_b=experts),
        "madakron-full": lambda: MAdaKron(hidden, p, q, experts_a=experts, experts_b=experts),
        "pfeiffer": lambda: Bottleneck(hidden, config.bottleneck),
    }
    return AdapterModel(backbone, config, make[method])


def num_trained(model: nn.Module) -> int:
    """Count the parameters that learn, without the head, as the paper does."""
    return sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and not name.startswith("head.")
    )
