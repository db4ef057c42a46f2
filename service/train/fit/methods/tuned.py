"""The frozen encoder with trainable parts at four points of each layer, for methods that need more than a site.

Only training computes these methods, so the points are here, and the layers of adapters/backbone do not know them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters.backbone.encoder import Backbone, BackboneLayer
from adapters.backbone.packing import Packing
from adapters.config import AdapterConfig
from adapters.method.adakron import Initialisation
from adapters.method.model import AdapterModel, pool


class Prefix(NamedTuple):
    """Keys and values that every token attends to, before those of its own sequence."""

    keys: Tensor  # [P, H]
    values: Tensor  # [P, H]
    gate: Tensor | None = None  # [T, 1]: factor of both in the row's sequence, the same in all rows of a sequence


class LayerTuning(nn.Module, ABC):
    """The trainable parts of one encoder layer. At a point that a method does not override nothing changes."""

    def project(self, x: Tensor, qkv: Tensor, packing: Packing) -> Tensor:
        """Change the queries, keys and values: the layer's input x [T, H], qkv [T, 3 * H] -> [T, 3 * H]."""
        return qkv

    def prepend(self, x: Tensor, packing: Packing) -> Prefix | None:
        """Return the prefix of all sequences, if there is one; x [T, H] is the layer's input."""
        return None

    def after_attention(self, h: Tensor, packing: Packing) -> Tensor:
        """Change the output of attention's last linear layer: h [T, H] -> [T, H]."""
        return h

    def after_feed_forward(self, h: Tensor, packing: Packing) -> Tensor:
        """Change the output of the second feed-forward linear layer, AdaKron's site: h [T, H] -> [T, H]."""
        return h

    @abstractmethod
    def initialise(self, scheme: Initialisation) -> None:
        """Draw new weights, in place."""


class TunedModel(AdapterModel):
    """A LayerTuning in each of `config.layers` of the frozen backbone, and the head."""

    def __init__(self, backbone: Backbone, config: AdapterConfig, make_tuning: Callable[[], LayerTuning]) -> None:
        super().__init__(backbone, config, make_tuning)

    def encode(self, token_ids: Tensor, type_ids: Tensor, packing: Packing) -> Tensor:
        """Hidden states of the last layer: token_ids, type_ids [T] int64 -> [T, H]."""
        x, residual = self.backbone.embed(token_ids, type_ids, packing)
        for index, module in enumerate(self.backbone.layers):
            layer, key = cast(BackboneLayer, module), str(index)
            if key in self.layers:
                x, residual = run_layer(layer, cast(LayerTuning, self.layers[key]), x, residual, packing)
            else:
                x, residual = layer(x, residual, packing, index, None)
        return x

    def forward(self, token_ids: Tensor, type_ids: Tensor, packing: Packing) -> Tensor:
        """token_ids, type_ids [T] int64 -> logits [N, num_outputs] float32."""
        hidden = self.encode(token_ids, type_ids, packing)
        pooled = self.head_dropout(pool(hidden, packing, self.config.task.pooling, self.backbone))
        return cast(Tensor, self.head(pooled.float()))


def run_layer(
    layer: BackboneLayer, tuning: LayerTuning, x: Tensor, residual: Tensor, packing: Packing
) -> tuple[Tensor, Tensor]:
    """Compute `layer(x, residual, packing, ...)` with the changes of `tuning`; the residual may be overwritten."""
    attention_dropout_p = layer.attention_dropout_p if layer.training else 0.0
    qkv = tuning.project(x, layer.qkv(x), packing)
    prefix = tuning.prepend(x, packing)
    if prefix is None:
        attended = layer.attend(qkv, packing, layer.num_heads, attention_dropout_p)
    else:
        attended = prefixed_attention(qkv, prefix, packing, layer.num_heads, attention_dropout_p)
    h = tuning.after_attention(layer.attention_out(attended), packing)
    x, residual = layer.attention_norm(F.dropout(h, layer.dropout_p, layer.training), residual)
    h = tuning.after_feed_forward(layer.ff_out(layer.ff_in(x)), packing)
    return cast(tuple[Tensor, Tensor], layer.ff_norm(F.dropout(h, layer.dropout_p, layer.training), residual))


def prefixed_attention(qkv: Tensor, prefix: Prefix, packing: Packing, num_heads: int, dropout_p: float = 0.0) -> Tensor:
    """softmax(Q [P_k; K]^T / sqrt(d)) [P_v; V] within each sequence of the packing.

    qkv [T, 3 * H], the three side by side, and the prefix's P_k, P_v [P, H], times its gate -> [T, H], a new tensor of
    qkv's dtype, d = H / num_heads. Sequences of about equal length run as one dense batch, as in `packed_attention`.
    """
    hidden, grouping = qkv.shape[1] // 3, packing.grouping
    grouped = qkv.index_select(0, grouping.to_groups)
    gates = None if prefix.gate is None else prefix.gate.index_select(0, grouping.to_groups).to(qkv.dtype)
    first_keys, first_values = (  # [heads, P, d] each
        part.to(qkv.dtype).view(len(part), num_heads, -1).transpose(0, 1) for part in (prefix.keys, prefix.values)
    )
    outputs = []
    for group in grouping.groups:
        num = group.num_sequences
        # [n, l, 3, heads, d] -> three of [n, heads, l, d]
        block = grouped[group.start : group.stop].view(num, group.length, 3, num_heads, -1)
        query, key, value = block.permute(2, 0, 3, 1, 4)
        gate = qkv.new_ones(num) if gates is None else gates[group.start : group.stop : group.length]
        gate = gate.view(num, 1, 1, 1)
        key, value = torch.cat([first_keys * gate, key], 2), torch.cat([first_values * gate, value], 2)
        is_token = group.is_token
        if is_token is not None:
            is_token = torch.cat([is_token.new_ones(num, 1, 1, len(prefix.keys)), is_token], -1)
        attended = F.scaled_dot_product_attention(query, key, value, is_token, dropout_p)
        outputs.append(attended.transpose(1, 2).reshape(-1, hidden))
    return torch.cat(outputs).index_select(0, grouping.from_groups)
