"""AdapterModel: one task's trainable adapter and head on the frozen backbone."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters.backbone.encoder import Backbone
from adapters.backbone.packing import Packing
from adapters.config import AdapterConfig, Pooling
from adapters.method.adakron import AdaKron, Initialisation, MAdaKron


class AdapterModel(nn.Module):
    """backbone + an adapter in each of `config.layers` + linear head. Only adapters and head train.

    The adapters are AdaKron's, unless `make_adapter` makes others: modules h [T, H] -> [T, H] with a method
    `initialise(scheme)`. With AdaKron's, `state_dict()` has exactly the tensors of the adapter file: not the backbone.
    """

    def __init__(
        self, backbone: Backbone, config: AdapterConfig, make_adapter: Callable[[], nn.Module] | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self._backbone = [backbone]  # in a list: not a submodule, so neither trained nor saved with the adapter
        hidden = config.backbone.hidden_size
        make_adapter = make_adapter or (lambda: AdaKron(hidden, config.p, config.q))
        self.layers = nn.ModuleDict({str(i): make_adapter() for i in config.layers})
        self.head = nn.Linear(hidden, config.task.num_outputs)
        self.head_dropout = nn.Dropout(backbone.dropout_p)

    @property
    def backbone(self) -> Backbone:
        """The shared encoder."""
        return self._backbone[0]

    def train(self, mode: bool = True) -> "AdapterModel":
        """Set the mode of the adapters, the head and the backbone's dropout."""
        super().train(mode)
        self.backbone.train(mode)
        return self

    @torch.no_grad()
    def initialise(self, scheme: Initialisation) -> None:
        """Draw new weights for adapters and head, in place; see `adapters.method.adakron.initialise`."""
        for adapter in self.layers.values():
            cast(AdaKron, adapter).initialise(scheme)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def merged(self) -> "AdapterModel":
        """Return this model with each mixture merged to a plain adapter, which is what an adapter file holds."""
        model = AdapterModel(self.backbone, self.config)
        for key, adapter in self.layers.items():
            merged = adapter.merge() if isinstance(adapter, MAdaKron) else adapter
            model.layers[key].load_state_dict(merged.state_dict())
        model.head.load_state_dict(self.head.state_dict())
        return model.to(self.head.weight.device).train(self.training)

    def site(self, layer: int, h: Tensor) -> Tensor:
        """Apply the adapter of `layer` to h [T, H]; returns h itself in a layer without one."""
        key = str(layer)
        return cast(Tensor, self.layers[key](h)) if key in self.layers else h

    def forward(self, token_ids: Tensor, type_ids: Tensor, packing: Packing) -> Tensor:
        """token_ids, type_ids [T] int64 -> logits [N, num_outputs] float32."""
        hidden = self.backbone(token_ids, type_ids, packing, self.site)
        pooled = self.head_dropout(pool(hidden, packing, self.config.task.pooling, self.backbone))
        return cast(Tensor, self.head(pooled.float()))


def pool(hidden: Tensor, packing: Packing, pooling: Pooling, backbone: Backbone) -> Tensor:
    """Pool each sequence to one vector: hidden [T, H] -> [N, H].

    `cls`: the first token. `mean`: the average of all tokens, special ones included. `pooler`: BERT's frozen dense
    layer and tanh on the first token, as in the paper.
    """
    if pooling == "mean":
        return backbone.average(hidden, packing)
    first = hidden.index_select(0, packing.first_rows)
    return first if pooling == "cls" else torch.tanh(backbone.pooler(first))


def apply_head(pooled: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """logits = W pooled + b in float32: pooled [N, H], weight [num_outputs, H] -> [N, num_outputs]."""
    return F.linear(pooled.float(), weight.float(), bias.float())
