"""Methods inside self-attention: LoRA on queries and values, and prefix-tuning."""

from typing import cast

import torch
from torch import Tensor, nn

from adapters.backbone.packing import Packing
from adapters.method.adakron import Initialisation
from service.train.fit.methods.tuned import LayerTuning, Prefix

LORA_RANK, LORA_ALPHA = 8, 16
PREFIX_LENGTH = 10


class LowRank(nn.Module):
    """B A x, with A [rank, H] and B [H, rank]."""

    def __init__(self, hidden_size: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(hidden_size, rank, bias=False)
        self.up = nn.Linear(rank, hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [T, H] -> [T, H]."""
        return cast(Tensor, self.up(self.down(x)))

    @torch.no_grad()
    def initialise(self) -> None:
        """Draw A as `nn.Linear` does, and zero B."""
        self.down.reset_parameters()
        nn.init.zeros_(self.up.weight)


class LoRA(LayerTuning):
    """W x + (alpha / rank) B A x for the projections to queries and to values (Hu et al., ICLR 2022).

    Rank 8 and alpha 16, as in the comparison of Mao et al. (ACL 2022). On BERT-base 294,912 parameters, 0.3 million.
    """

    def __init__(self, hidden_size: int, rank: int = LORA_RANK, alpha: float = LORA_ALPHA) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.query = LowRank(hidden_size, rank)
        self.value = LowRank(hidden_size, rank)

    def project(self, x: Tensor, qkv: Tensor, packing: Packing) -> Tensor:
        """Add the low-rank products: x [T, H], qkv [T, 3 * H] -> [T, 3 * H]."""
        return add_to_qkv(qkv, self.scale * self.query(x), self.scale * self.value(x))

    def initialise(self, scheme: Initialisation) -> None:
        """Start as the identity with every scheme."""
        for product in (self.query, self.value):
            product.initialise()


def add_to_qkv(qkv: Tensor, to_query: Tensor, to_value: Tensor) -> Tensor:
    """Add to queries and values: qkv [T, 3 * H], the other two [T, H] -> [T, 3 * H], a new tensor of qkv's dtype."""
    query, key, value = qkv.chunk(3, dim=1)
    return torch.cat([query + to_query.to(qkv.dtype), key, value + to_value.to(qkv.dtype)], dim=1)


class PrefixTuning(LayerTuning):
    """Trainable keys and values before those of each sequence (Li and Liang, ACL 2021).

    Trained directly, as in PEFT by default and AdapterHub's `flat`: the authors train them through an MLP, which is
    dropped after training and not counted. Length 10, as in the comparison of Mao et al. (ACL 2022). On BERT-base
    184,320 parameters, 0.2 million.
    """

    def __init__(self, hidden_size: int, length: int = PREFIX_LENGTH) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.empty(length, hidden_size))
        self.values = nn.Parameter(torch.empty(length, hidden_size))

    def prepend(self, x: Tensor, packing: Packing) -> Prefix:
        """Return the layer's keys and values, the same for all sequences."""
        return Prefix(self.keys, self.values)

    @torch.no_grad()
    def initialise(self, scheme: Initialisation) -> None:
        """Draw with deviation 1 if `published`, as in PEFT and AdapterHub, else 0.02.

        No scheme starts as the identity: even small keys get a share of the attention.
        """
        for part in (self.keys, self.values):
            nn.init.normal_(part, std=1.0 if scheme == "published" else 0.02)
