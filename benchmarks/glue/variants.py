"""Variants of AdaKron48's training that are being measured: one that wins becomes part of a recipe.

With the projections a and b, a scale s, a gate g [r], and masks of dropout m_a, m_b, m_z:

    z = s (m_b * b) (x) (m_a * a)
    h <- h + W_up (m_z * g * GELU(z)) + b_up

After training s merges into W_a and g into W_up, so the result is a plain AdaKron adapter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters.backbone.encoder import Backbone, BackboneLayer
from adapters.backbone.layers import Norm
from adapters.backbone.packing import Packing
from adapters.backbone.source import LoadedBackbone
from adapters.config import AdapterConfig
from adapters.method.adakron import AdaKron, Initialisation, kronecker
from adapters.method.model import AdapterModel
from service.train.fit.methods.adamix import WithLoss, consistency
from service.train.options import FitOptions

MOMENTUM = 0.01  # weight of a batch in the running mean square of z


@dataclass(frozen=True)
class Variant:
    """Changes of the training; the default is no change."""

    dropout_z: float = 0.0  # share of GELU(z) that is dropped
    dropout_projections: float = 0.0  # share of a, and of b
    scale: bool = False  # s learns
    gate: bool = False  # g learns
    normalise: bool = False  # s is one over the running root mean square of z
    start: Literal["as given", "orthogonal", "spectral"] = "as given"  # of W_a and W_b
    consistency: float = 0.0  # weight of the divergence between two passes
    norms: bool = False  # the backbone's LayerNorms learn, which no adapter file holds
    projection_decay: float | None = None  # weight decay of W_a and W_b; None: as of other matrices
    head_decay: float | None = None  # the same of the head
    layer_rate: float = 1.0  # factor of the learning rate from a layer to the one below


VARIANTS: Mapping[str, Variant] = {
    "dropout on z 0.1": Variant(dropout_z=0.1),
    "dropout on z 0.3": Variant(dropout_z=0.3),
    "dropout on a and b 0.1": Variant(dropout_projections=0.1),
    "consistency": Variant(dropout_z=0.1, consistency=1.0),
    "projection decay 0.1": Variant(projection_decay=0.1),
    "head decay 0.1": Variant(head_decay=0.1),
    "layer rate 0.8": Variant(layer_rate=0.8),
    "norms": Variant(norms=True),
    "scale": Variant(scale=True),
    "gate": Variant(gate=True),
    "normalised z": Variant(normalise=True),
    "orthogonal start": Variant(start="orthogonal"),
    "spectral start": Variant(start="spectral"),
}


class VariantAdaKron(AdaKron):
    """An AdaKron adapter with the changes of a variant; h [..., H] -> [..., H], a new tensor."""

    square: Tensor  # () float32: running mean square of z, 0 before the first batch

    def __init__(self, hidden_size: int, p: int, q: int, variant: Variant) -> None:
        super().__init__(hidden_size, p, q)
        self._variant = variant
        self.scale = nn.Parameter(torch.ones(())) if variant.scale else None
        self.gate = nn.Parameter(torch.ones(p * q)) if variant.gate else None
        self.register_buffer("square", torch.zeros(()))

    def forward(self, h: Tensor) -> Tensor:
        """Compute the equation of this module's docstring."""
        share = self._variant.dropout_projections
        b, a = (F.dropout(linear(h), share, self.training) for linear in (self.down_b, self.down_a))
        z = kronecker(b, a)
        if self._variant.normalise:
            if self.training:
                self._watch(z)
            z = z / self._deviation()
        if self.scale is not None:
            z = z * self.scale
        hidden = F.gelu(z)
        if self.gate is not None:
            hidden = hidden * self.gate
        return cast(Tensor, h + self.up(F.dropout(hidden, self._variant.dropout_z, self.training)))

    @torch.no_grad()
    def _watch(self, z: Tensor) -> None:
        mean = z.float().square().mean()
        self.square.copy_(torch.where(self.square > 0, torch.lerp(self.square, mean, MOMENTUM), mean))

    def _deviation(self) -> Tensor:
        return torch.where(self.square > 0, self.square, torch.ones_like(self.square)).sqrt()

    @torch.no_grad()
    def initialise(self, scheme: Initialisation) -> None:
        """Draw new weights as AdaKron does; scale and gate are 1."""
        super().initialise(scheme)
        self.square.zero_()
        for factor in (self.scale, self.gate):
            if factor is not None:
                nn.init.ones_(factor)

    @torch.no_grad()
    def merge(self) -> AdaKron:
        """Return the AdaKron adapter that computes exactly what this one computes in evaluation."""
        p, q = self.down_a.out_features, self.down_b.out_features
        merged = AdaKron(self.up.out_features, p, q).to(self.up.weight)
        state = self.state_dict()
        merged.load_state_dict({name: state[name] for name in merged.state_dict()})
        factor = torch.ones_like(self.square) / (self._deviation() if self._variant.normalise else 1.0)
        factor = factor if self.scale is None else factor * self.scale
        merged.down_a.weight.mul_(factor)
        merged.down_a.bias.mul_(factor)
        if self.gate is not None:
            merged.up.weight.mul_(self.gate)
        return merged


class VariantModel(AdapterModel):
    """The adapters of a variant and a head on the backbone, whose LayerNorms learn if the variant says so."""

    def __init__(self, backbone: Backbone, config: AdapterConfig, variant: Variant) -> None:
        hidden = config.backbone.hidden_size
        super().__init__(backbone, config, lambda: VariantAdaKron(hidden, config.p, config.q, variant))
        self.variant = variant
        norms = [module for module in backbone.modules() if isinstance(module, Norm)] if variant.norms else []
        self.norms = nn.ModuleList(norms).requires_grad_(variant.norms)  # as submodules they are trained

    @torch.no_grad()
    def initialise(self, scheme: Initialisation) -> None:
        """Draw new weights; the rows of W_a and W_b have the length that `nn.Linear` draws on average, 1 / sqrt(3)."""
        super().initialise(scheme)
        if self.variant.start == "as given":
            return
        for key, module in self.layers.items():
            adapter = cast(VariantAdaKron, module)
            p, q = adapter.down_a.out_features, adapter.down_b.out_features
            rows = self._directions(int(key), p + q) / sqrt(3.0)
            adapter.down_a.weight.copy_(rows[:p])
            adapter.down_b.weight.copy_(rows[p:])

    def _directions(self, layer: int, count: int) -> Tensor:
        """Orthonormal rows [count, H]: drawn, or the directions in which the feed-forward weight writes most."""
        if self.variant.start == "orthogonal":
            rows = torch.empty(count, self.config.backbone.hidden_size)
            return cast(Tensor, nn.init.orthogonal_(rows)).to(self.head.weight)
        weight = cast(BackboneLayer, self.backbone.layers[layer]).ff_out.weight  # [H, intermediate]
        left: Tensor = torch.linalg.svd(weight.float(), full_matrices=False)[0]
        return left[:, :count].T

    def forward(self, token_ids: Tensor, type_ids: Tensor, packing: Packing) -> Tensor:
        """token_ids, type_ids [T] int64 -> logits [N, num_outputs] float32.

        With a consistency, a second pass in training drops other parts, and the logits of the first carry the gradient
        of the divergence beside that of their own loss (R-Drop: Liang et al., NeurIPS 2021; as AdaMix has it, the loss
        of the labels is that of the first pass).
        """
        logits = super().forward(token_ids, type_ids, packing)
        if not (self.variant.consistency and self.training and torch.is_grad_enabled()):
            return logits
        others = super().forward(token_ids, type_ids, packing)
        penalty = self.variant.consistency * consistency(logits, others, self.config.task.type)
        return cast(Tensor, WithLoss.apply(logits, penalty))  # type: ignore[no-untyped-call]


def make_variant(options: FitOptions, config: AdapterConfig, loaded: LoadedBackbone, variant: Variant) -> VariantModel:
    """The initialised model, as service.train.prepare.make_model makes that of a method."""
    recipe = options.hyper_parameters
    loaded.backbone.set_dropout(recipe.dropout)
    model = VariantModel(loaded.backbone, config, variant)
    model.initialise(recipe.initialisation)
    return model
