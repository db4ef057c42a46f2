"""The trainable gated model: K experts for the down-projections, mixed by a gate for each key and layer.

For a key's weights alpha [L, K], a softmax of logits, and h [T, H] at layer l:

    a = sum_k alpha[l, k] (W_a^k h + b_a^k)    b = sum_k alpha[l, k] (W_b^k h + b_b^k)

and the rest as in `adapters.method.adakron`. The experts are mixed as in Jacobs et al. (1991) and, with one gate per
task, Ma et al. (2018); here the gate is a table, not a network, so that each key merges to one plain adapter.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters.backbone.encoder import Backbone
from adapters.backbone.packing import Packing
from adapters.config import AdapterConfig
from adapters.method.adakron import AdaKron, Initialisation, kronecker
from adapters.method.model import AdapterModel, pool

UNKNOWN = -1  # the number of a key without a gate of its own
GATE_NOISE = 0.5  # deviation of the first logits: even gates of keys that disagree would never part
GATE_SCALE = 30.0  # logits per unit of the parameters: gates learn faster than weights at one learning rate


class Experts(nn.Module):
    """K linear projections whose outputs a gate mixes."""

    def __init__(self, num_experts: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_experts, out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(num_experts, out_features))

    def forward(self, h: Tensor, alpha: Tensor) -> Tensor:
        """h [T, H], alpha [T, K] or [1, K] for all rows alike -> [T, out_features], a new tensor."""
        if len(alpha) == 1:
            return F.linear(h, *self.merge(alpha[0]))
        outputs = F.linear(h, self.weight.flatten(0, 1), self.bias.flatten()).view(len(h), *self.bias.shape)
        return (alpha.unsqueeze(-1) * outputs).sum(1)

    def merge(self, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the projection that the weights alpha [K] mix."""
        return torch.tensordot(alpha, self.weight, 1), alpha @ self.bias


class GatedAdaKron(nn.Module):
    """The experts of one site, and their common up-projection."""

    def __init__(self, hidden_size: int, p: int, q: int, num_experts: int) -> None:
        super().__init__()
        self.down_a = Experts(num_experts, hidden_size, p)
        self.down_b = Experts(num_experts, hidden_size, q)
        self.up = nn.Linear(p * q, hidden_size)

    def forward(self, h: Tensor, alpha: Tensor) -> Tensor:
        """h [T, H], alpha [T, K] or [1, K] -> [T, H], a new tensor."""
        z = kronecker(self.down_b(h, alpha), self.down_a(h, alpha))
        return cast(Tensor, h + self.up(F.gelu(z)))

    @torch.no_grad()
    def initialise(self, scheme: Initialisation) -> None:
        """Draw new weights, in place, for each expert; see `adapters.method.adakron.initialise`."""
        q, p = self.down_b.bias.shape[1], self.down_a.bias.shape[1]
        for expert in range(len(self.down_a.weight)):
            plain = AdaKron(self.up.out_features, p, q)
            plain.initialise(scheme)
            for own, drawn in ((self.down_a, plain.down_a), (self.down_b, plain.down_b)):
                own.weight[expert].copy_(drawn.weight)
                own.bias[expert].copy_(drawn.bias)
            self.up.load_state_dict(plain.up.state_dict())

    @torch.no_grad()
    def merge(self, alpha: Tensor) -> AdaKron:
        """Return the plain adapter that the weights alpha [K] mix."""
        merged = AdaKron(self.up.out_features, self.down_a.bias.shape[1], self.down_b.bias.shape[1]).to(alpha.device)
        for linear, experts in ((merged.down_a, self.down_a), (merged.down_b, self.down_b)):
            weight, bias = experts.merge(alpha)
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
        merged.up.load_state_dict(self.up.state_dict())
        return merged


class GateTable(nn.Module):
    """The gates of N keys: softmax(GATE_SCALE * (common + own[key])), even until they are initialised."""

    def __init__(self, num_keys: int, num_layers: int, num_experts: int) -> None:
        super().__init__()
        self.common = nn.Parameter(torch.zeros(num_layers, num_experts))
        self.own = nn.Parameter(torch.zeros(num_keys, num_layers, num_experts))

    def forward(self, keys: Tensor) -> Tensor:
        """keys [N] int64 -> alpha [N, L, K] float32; UNKNOWN gets the mean gate."""
        gates = (GATE_SCALE * (self.common + self.own[keys.clamp(min=0)])).float().softmax(-1)
        unknown = keys == UNKNOWN
        if not bool(unknown.any()):
            return gates
        return torch.where(unknown.view(-1, 1, 1), self.mean(), gates)

    def table(self) -> Tensor:
        """Return the gates of all keys, [num_keys, L, K] float32."""
        return (GATE_SCALE * (self.common + self.own)).float().softmax(-1)

    def mean(self) -> Tensor:
        """Return the mean gate, [L, K]."""
        return self.table().mean(0)

    @torch.no_grad()
    def assign(self, table: Tensor) -> None:
        """Overwrite the gates, in place, with a table [num_keys, L, K] of weights."""
        self.common.zero_()
        self.own.copy_(table.float().clamp(min=1e-30).log() / GATE_SCALE)


class GatedModel(AdapterModel):
    """backbone + gated adapters + head: one task's model for each of N keys. Adapters, gates and head train."""

    def __init__(self, backbone: Backbone, config: AdapterConfig, num_experts: int, num_keys: int) -> None:
        hidden = config.backbone.hidden_size
        super().__init__(backbone, config, lambda: GatedAdaKron(hidden, config.p, config.q, num_experts))
        self.gates = GateTable(num_keys, len(config.layers), num_experts)

    def forward(self, token_ids: Tensor, type_ids: Tensor, packing: Packing, keys: Tensor | None = None) -> Tensor:
        """token_ids, type_ids [T] int64, keys [N] int64 -> logits [N, num_outputs] float32.

        `keys` may have one number for all sequences; without it, all have the mean gate.
        """
        alphas = self.gates.mean().unsqueeze(0) if keys is None else self.gates(keys)
        return self.mix(token_ids, type_ids, packing, alphas)

    def mix(self, token_ids: Tensor, type_ids: Tensor, packing: Packing, alphas: Tensor) -> Tensor:
        """The logits with the gates alphas [N, L, K], or [1, L, K] for all sequences."""
        if len(alphas) > 1:
            alphas = alphas.repeat_interleave(packing.lengths, dim=0)
        places = {layer: place for place, layer in enumerate(self.config.layers)}

        def site(layer: int, h: Tensor) -> Tensor:
            return cast(Tensor, self.layers[str(layer)](h, alphas[:, places[layer]])) if layer in places else h

        hidden = self.backbone(token_ids, type_ids, packing, site)
        pooled = self.head_dropout(pool(hidden, packing, self.config.task.pooling, self.backbone))
        return cast(Tensor, self.head(pooled.float()))

    @torch.no_grad()
    def initialise(self, scheme: Initialisation) -> None:
        """Draw new weights for experts, head and gates, in place; see `adapters.method.adakron.initialise`.

        Gates start near the even one, each a little different.
        """
        super().initialise(scheme)
        self.gates.common.zero_()
        nn.init.normal_(self.gates.own, std=GATE_NOISE / GATE_SCALE)

    @torch.no_grad()
    def merge(self, key: int) -> AdapterModel:
        """Return the plain model of the key with this number, in the mode of this one."""
        model = AdapterModel(self.backbone, self.config)
        gate = self.gates(torch.tensor([key], device=self.head.weight.device))[0]
        for alpha, (name, adapter) in zip(gate, self.layers.items(), strict=True):
            model.layers[name].load_state_dict(cast(GatedAdaKron, adapter).merge(alpha).state_dict())
        model.head.load_state_dict(self.head.state_dict())
        return model.to(self.head.weight.device).train(self.training)


def share(models: Sequence[GatedModel]) -> None:
    """Let all `models` train the experts, up-projections and gates of the first; each keeps its head."""
    for model in models[1:]:
        model.layers, model.gates = models[0].layers, models[0].gates
