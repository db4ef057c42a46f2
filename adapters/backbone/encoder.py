"""Backbone: the frozen BERT encoder on packed tokens, one forward for training and for serving.

It knows no adapters: a caller may pass a `site`, a function called in every layer on the output of the second
feed-forward linear layer, before dropout, residual and LayerNorm (Braga et al. 2024, section 3).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters.backbone.attention import VarlenPacking, packed_attention
from adapters.backbone.files import BertShape
from adapters.backbone.layers import Dense, NativeDense, NativeNorm, Norm, PackedDense, packed_rows
from adapters.backbone.native import can_attend, can_take_rows, native_attention, native_mean
from adapters.backbone.packing import Packing
from adapters.backbone.tiled import fastest_dense
from adapters.config import BackboneIdentity
from adapters.errors import BackboneError

Site = Callable[[int, Tensor], Tensor]  # (layer, h [T, H]) -> h [T, H]; may work in place


def packed_mean(hidden: Tensor, packing: Packing) -> Tensor:
    """Average the rows of each sequence in float32: hidden [T, H] -> [N, H] of its dtype; differentiable."""
    return torch.segment_reduce(hidden.float(), "mean", lengths=packing.lengths, axis=0).to(hidden.dtype)


class BackboneLayer(nn.Module):
    """One encoder layer; the three attention projections are one matrix."""

    def __init__(self, config: BertShape) -> None:
        super().__init__()
        hidden, eps = config.hidden_size, config.layer_norm_eps
        self.attend: Callable[..., Tensor] = packed_attention
        self.num_heads = config.num_attention_heads
        self.attention_dropout_p = config.attention_probs_dropout_prob
        self.dropout_p = config.hidden_dropout_prob
        self.qkv = Dense(hidden, 3 * hidden)
        self.attention_out = Dense(hidden, hidden)
        self.attention_norm = Norm(hidden, eps=eps)
        self.ff_in = Dense(hidden, config.intermediate_size, activation=config.hidden_act)
        self.ff_out = Dense(config.intermediate_size, hidden)
        self.ff_norm = Norm(hidden, eps=eps)

    def forward(
        self, x: Tensor, residual: Tensor, packing: Packing | VarlenPacking, layer: int, site: Site | None
    ) -> tuple[Tensor, Tensor]:
        """x [T, H], residual: the same numbers, perhaps in a wider dtype -> the next x and residual.

        The residual may be overwritten.
        """
        attention_dropout_p = self.attention_dropout_p if self.training else 0.0
        attended = self.attend(self.qkv(x), packing, self.num_heads, attention_dropout_p)
        h = F.dropout(self.attention_out(attended), self.dropout_p, self.training)
        x, residual = self.attention_norm(h, residual)
        h = self.ff_out(self.ff_in(x))
        if site is not None:
            h = site(layer, h)
        return cast(tuple[Tensor, Tensor], self.ff_norm(F.dropout(h, self.dropout_p, self.training), residual))


class Backbone(nn.Module):
    """Embeddings, encoder layers and tanh pooler of a BERT. Frozen and in evaluation mode when built."""

    def __init__(self, config: BertShape, identity: BackboneIdentity, *, has_pooler: bool) -> None:
        super().__init__()
        self.identity = identity
        self.has_pooler = has_pooler  # False: the file has no pooler, and `pooler` is untrained
        self.is_packed = False
        self.round_rows: Callable[[int], int] = int  # the number of rows that the layers compute best, not fewer
        self.residual_dtype: torch.dtype | None = None  # None: that of the weights
        self.max_positions: int = config.max_position_embeddings
        self.head_size: int = config.hidden_size // config.num_attention_heads
        self.dropout_p: float = config.hidden_dropout_prob
        hidden = config.hidden_size
        self.word = nn.Embedding(config.vocab_size, hidden)
        self.position = nn.Embedding(config.max_position_embeddings, hidden)
        self.token_type = nn.Embedding(config.type_vocab_size, hidden)
        self.norm = Norm(hidden, eps=config.layer_norm_eps)
        self.layers = nn.ModuleList(BackboneLayer(config) for _ in range(config.num_hidden_layers))
        self.average: Callable[[Tensor, Packing], Tensor] = packed_mean
        self.pooler: nn.Module = nn.Linear(hidden, hidden)
        self.requires_grad_(False).eval()

    @classmethod
    @torch.no_grad()
    def from_weights(cls, config: BertShape, weights: Mapping[str, Tensor], identity: BackboneIdentity) -> "Backbone":
        """Build a backbone in float32 with a copy of `weights`, named as in transformers' BertModel.

        Raises BackboneError for another kind of BERT (relative positions, a decoder), and when weights are missing or
        have another shape. Only the pooler may be missing: then `has_pooler` is False.
        """
        if config.position_embedding_type not in (None, "absolute") or config.is_decoder:
            raise BackboneError("only a BERT encoder with absolute positions can be a backbone")
        if config.hidden_size % config.num_attention_heads:
            raise BackboneError(
                f"backbone {identity.name!r}: hidden_size {config.hidden_size} cannot be divided among "
                f"{config.num_attention_heads} heads"
            )
        has_pooler = {"pooler.dense.weight", "pooler.dense.bias"} <= weights.keys()
        backbone = cls(config, identity, has_pooler=has_pooler)
        for parameter, names in backbone._names():
            missing = [name for name in names if name not in weights]
            if missing:
                raise BackboneError(f"backbone {identity.name!r} lacks weights: {missing[0]} ...")
            value = torch.cat([weights[name] for name in names])
            if value.shape != parameter.shape:
                raise BackboneError(
                    f"backbone {identity.name!r}: {names[0]} is {list(value.shape)}, "
                    f"and by its config {list(parameter.shape)}"
                )
            parameter.copy_(value)
        return backbone

    def _names(self) -> Iterator[tuple[Tensor, list[str]]]:
        """Yield each parameter with the names of the weights that are stacked in it."""
        sources: list[tuple[nn.Module, list[str]]] = [
            (self.word, ["embeddings.word_embeddings"]),
            (self.position, ["embeddings.position_embeddings"]),
            (self.token_type, ["embeddings.token_type_embeddings"]),
            (self.norm, ["embeddings.LayerNorm"]),
        ]
        for index, module in enumerate(self.layers):
            layer, prefix = cast(BackboneLayer, module), f"encoder.layer.{index}"
            sources += [
                (layer.qkv, [f"{prefix}.attention.self.{part}" for part in ("query", "key", "value")]),
                (layer.attention_out, [f"{prefix}.attention.output.dense"]),
                (layer.attention_norm, [f"{prefix}.attention.output.LayerNorm"]),
                (layer.ff_in, [f"{prefix}.intermediate.dense"]),
                (layer.ff_out, [f"{prefix}.output.dense"]),
                (layer.ff_norm, [f"{prefix}.output.LayerNorm"]),
            ]
        if self.has_pooler:
            sources.append((self.pooler, ["pooler.dense"]))
        for module, names in sources:
            for key, parameter in module.named_parameters(recurse=False):
                yield parameter, [f"{name}.{key}" for name in names]

    def set_dropout(self, p: float) -> None:
        """Set the dropout of hidden states and attention in training, instead of the BERT's own."""
        self.dropout_p = p
        for module in self.layers:
            layer = cast(BackboneLayer, module)
            layer.dropout_p = layer.attention_dropout_p = p

    def pack(self) -> "Backbone":
        """Switch to the fastest kernels for inference and their weight layouts, in place; no longer differentiable."""
        if (fastest := fastest_dense(self.device, self.dtype)) is not None:
            self.is_packed = True
            self.round_rows = packed_rows if fastest is PackedDense else int
            for layer in self.layers:
                for name, module in list(layer.named_children()):
                    if isinstance(module, Dense):
                        setattr(layer, name, fastest(module))
        if can_attend(self.device, self.dtype, self.head_size, self.max_positions):
            for layer in self.layers:
                cast(BackboneLayer, layer).attend = native_attention
        if can_take_rows(self.device, self.dtype, self.norm.normalized_shape[0]):
            for module in self.modules():
                for name, child in list(module.named_children()):
                    if isinstance(child, Norm):
                        setattr(module, name, NativeNorm(child))
            self.residual_dtype = torch.float32
            self.average, self.pooler = native_mean, NativeDense(cast(nn.Linear, self.pooler))
        return self

    def convert(self, device: torch.device | str, dtype: torch.dtype) -> "Backbone":
        """Move the weights to `device` in `dtype`, in place; on a CPU those of LayerNorm stay float32."""
        for module in self.modules():
            stays = isinstance(module, Norm) and torch.device(device).type == "cpu"
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(device=device, dtype=torch.float32 if stays else dtype)
        return self

    @property
    def is_batch_invariant(self) -> bool:
        """Whether hidden states and pooled vectors of a sequence are the same bits in any batch, by any threads."""
        attends_in_c = all(cast(BackboneLayer, layer).attend is native_attention for layer in self.layers)
        return self.is_packed and attends_in_c and self.average is native_mean

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.word.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights and of the hidden states."""
        return self.word.weight.dtype

    def embed(self, token_ids: Tensor, type_ids: Tensor, packing: Packing | VarlenPacking) -> tuple[Tensor, Tensor]:
        """Compute the first layer's x and residual, both [T, H]: token_ids, type_ids [T] int64 or int32."""
        embedded = self.word(token_ids).to(self.residual_dtype) + self.position(packing.positions)
        x, residual = self.norm(self.token_type(type_ids), embedded)
        if self.training:
            x = residual = F.dropout(x, self.dropout_p)
        return x, residual

    def forward(
        self, token_ids: Tensor, type_ids: Tensor, packing: Packing | VarlenPacking, site: Site | None = None
    ) -> Tensor:
        """Hidden states of the last layer: token_ids, type_ids [T] int64 or int32 -> [T, H] of the backbone's dtype.

        Differentiable with respect to the parameters that `site` uses, unless packed.
        """
        x, residual = self.embed(token_ids, type_ids, packing)
        for index, layer in enumerate(self.layers):
            x, residual = layer(x, residual, packing, index, site)
        return x
