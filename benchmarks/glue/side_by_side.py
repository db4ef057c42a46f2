"""Trains K models of one shape together: their weights are stacked, and run on K copies of each batch.

A training of one small adapter leaves a GPU idle: its batch has a thousand tokens, and each of some 600 kernels a step
ends before the next one is launched. Here K runs that see the same rows in the same order share every launch; method,
learning rate and initialisation may differ. Row k * T + t of every activation is token t of run k. Products with
trainable weights are batched over the runs; frozen layers run once over all rows.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adapters.backbone.layers import Dense, Norm
from adapters.backbone.packing import Packing
from adapters.method.model import AdapterModel, pool
from service.train.fit.methods import FullModel

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
ALIGNED = 64  # floats: what a run's row in the flat buffer is a multiple of


class StackedLinear(nn.Module):
    """K linear layers, each on its own rows: x [K * T, in_features] -> [K * T, out_features]."""

    def __init__(self, linear: nn.Linear, weight: nn.Parameter, bias: nn.Parameter) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self.activation = linear.activation if isinstance(linear, Dense) else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Compute what `Dense.forward` computes."""
        rows = x.unflatten(0, (len(self.weight), -1))
        y = torch.baddbmm(self.bias.unsqueeze(1), rows, self.weight.transpose(1, 2)).flatten(0, 1)
        return cast(Tensor, self.activation(y))


class StackedNorm(nn.Module):
    """K layer norms."""

    def __init__(self, norm: nn.LayerNorm, weight: nn.Parameter, bias: nn.Parameter) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self.shape, self.eps = norm.normalized_shape, norm.eps

    def forward(self, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Compute what `Norm.forward` computes."""
        x = F.layer_norm(x + residual, self.shape, eps=self.eps)
        rows = x.unflatten(0, (len(self.weight), -1))
        y = torch.addcmul(self.bias.unsqueeze(1), rows, self.weight.unsqueeze(1)).flatten(0, 1)
        return y, y


class StackedEmbedding(nn.Module):
    """K tables: ids [K * T] -> [K * T, H]."""

    def __init__(self, embedding: nn.Embedding, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, ids: Tensor) -> Tensor:
        """Each run's ids in its own table."""
        rows = ids.unflatten(0, (len(self.weight), -1)).unbind()
        return torch.cat([F.embedding(own, table) for own, table in zip(rows, self.weight.unbind(), strict=True)])


class Group:
    """K models of one method and shape as one module.

    `flat` [K, P] float32 holds the trainable weights, matrices first; computes in `dtype`, the heads in float32.
    """

    def __init__(self, models: Sequence[AdapterModel], dtype: torch.dtype = torch.float32) -> None:
        self.size, self.model = len(models), models[0]
        self.poolings = [model.config.task.pooling for model in models]
        shapes = {name: parameter.shape for name, parameter in self.model.named_parameters() if parameter.requires_grad}
        # matrices first: their sizes are multiples of four, so each is aligned for vector instructions
        self.names = sorted(shapes, key=lambda name: len(shapes[name]) < 2)
        self.places: dict[str, slice] = {}
        at = 0
        for name in self.names:
            self.places[name] = slice(at, at + shapes[name].numel())
            at += shapes[name].numel()
        device = self.model.head.weight.device
        self.flat = torch.zeros(self.size, -(-at // ALIGNED) * ALIGNED, device=device)
        self.decays = torch.zeros(self.flat.shape[1], dtype=torch.bool, device=device)  # matrices do, biases do not
        for row, model in zip(self.flat, models, strict=True):
            for name, parameter in model.named_parameters():
                if name in self.places:
                    row[self.places[name]] = parameter.detach().flatten()
        self._computing = self.flat if dtype == self.flat.dtype else self.flat.to(dtype)
        self.parameters: dict[str, nn.Parameter] = {}  # [K, ...] each
        for name in self.names:
            self.decays[self.places[name]] = len(shapes[name]) > 1
            flat = self.flat if name.startswith("head.") else self._computing
            self.parameters[name] = nn.Parameter(flat[:, self.places[name]].unflatten(1, shapes[name]))
        _stack(self.model, "", self.parameters)
        self.model.backbone.to(dtype)

    @torch.no_grad()
    def sync(self) -> None:
        """Update the views after a change of `flat`."""
        if self._computing is not self.flat:
            self._computing.copy_(self.flat)

    @property
    def num_trained(self) -> int:
        """Parameters of one run that learn, without the head."""
        return sum(place.stop - place.start for name, place in self.places.items() if not name.startswith("head."))

    def state(self, run: int) -> dict[str, Tensor]:
        """A run's weights by name, as a model of its own has them."""
        row = self.flat[run]
        shapes = {name: parameter.shape[1:] for name, parameter in self.parameters.items()}
        return {name: row[self.places[name]].view(shapes[name]).clone() for name in self.names}


def _stack(module: nn.Module, prefix: str, parameters: dict[str, nn.Parameter]) -> None:
    """Put stacked layers in the place of those whose weights are in `parameters`."""
    for name, child in list(module.named_children()):
        path = f"{prefix}{name}."
        weight, bias = (parameters.get(path + kind) for kind in ("weight", "bias"))
        if weight is None:
            _stack(child, path, parameters)
        elif isinstance(child, nn.Linear) and bias is not None:
            setattr(module, name, StackedLinear(child, weight, bias))
        elif isinstance(child, Norm) and bias is not None:
            setattr(module, name, StackedNorm(child, weight, bias))
        elif isinstance(child, nn.Embedding):
            setattr(module, name, StackedEmbedding(child, weight))
        else:
            raise TypeError(f"{path[:-1]}: no stacked kind of {type(child).__name__}")


class SideBySide:
    """Groups of runs on one backbone: one forward gives the logits of all."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups
        self.size = sum(group.size for group in groups)
        self._sizes = [group.size for group in groups]
        self.backbone = groups[0].model.backbone
        poolings = [pooling for group in groups for pooling in group.poolings]
        self._is_pooled = {  # [K] bool each
            pooling: torch.tensor([own == pooling for own in poolings], device=self.backbone.device)
            for pooling in dict.fromkeys(poolings)
        }
        if len(groups) > 1 and any(isinstance(group.model, FullModel) for group in groups):
            raise ValueError("a fully trained encoder is nobody else's backbone: it stands alone")

    def train(self, mode: bool) -> None:
        """Every model's mode, and the backbone's."""
        for group in self.groups:
            group.model.train(mode)

    def parameters(self) -> list[nn.Parameter]:
        """Return the trainable tensors, group by group in the order of Group.names."""
        return [parameter for group in self.groups for parameter in group.parameters.values()]

    def forward(self, token_ids: Tensor, type_ids: Tensor, lengths: Sequence[int]) -> Tensor:
        """One batch, token_ids and type_ids [T] int64 in N sequences -> logits [K, N, num_outputs] float32."""
        packing = Packing.of(list(lengths) * self.size, token_ids.device)
        hidden = self.backbone(token_ids.repeat(self.size), type_ids.repeat(self.size), packing, self._site)
        pooled = self._pool(hidden, packing)
        logits = []
        for group, own in zip(self.groups, pooled.split(self._sizes), strict=True):
            vectors = group.model.head_dropout(own.flatten(0, 1))
            logits.append(group.model.head(vectors.float()).unflatten(0, (group.size, -1)))
        return torch.cat(logits)

    def _site(self, layer: int, h: Tensor) -> Tensor:
        # split, not slices: the gradient of a slice is as large as all of h
        parts = h.unflatten(0, (self.size, -1)).split(self._sizes)
        own = [group.model.site(layer, part.flatten(0, 1)) for group, part in zip(self.groups, parts, strict=True)]
        return own[0] if len(own) == 1 else torch.cat(own)

    def _pool(self, hidden: Tensor, packing: Packing) -> Tensor:
        """Each run's own way: hidden [K * T, H] -> [K, N, H]."""
        first, *others = self._is_pooled
        pooled = pool(hidden, packing, first, self.backbone)
        for pooling in others:
            wanted = self._is_pooled[pooling].repeat_interleave(len(pooled) // self.size).unsqueeze(1)
            pooled = torch.where(wanted, pool(hidden, packing, pooling, self.backbone), pooled)
        return pooled.unflatten(0, (self.size, -1))


class FlatAdamW:
    """AdamW (Loshchilov & Hutter 2019) on a group's flat weights [K, P], each run with its own rate and decay.

    The same steps as torch's AdamW for each run alone, its gradient clipped to a norm of `clip`, in a dozen kernels.
    A weight without a gradient, of an expert that was not drawn, stays as it is, and so do its moments.
    """

    def __init__(
        self, group: Group, learning_rates: Sequence[float], weight_decays: Sequence[float], clip: float
    ) -> None:
        device = group.flat.device
        self._group, self._clip = group, clip
        self._rates = torch.tensor(learning_rates, device=device).unsqueeze(1)
        self._decays = torch.tensor(weight_decays, device=device).unsqueeze(1) * group.decays
        self._mean, self._square = torch.zeros_like(group.flat), torch.zeros_like(group.flat)
        self._steps = torch.zeros(group.flat.shape[1], device=device)  # of each weight

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor | None], factor: float) -> None:
        """One step from the gradients of the group's parameters; `factor` is the schedule's, 0 to 1."""
        flat, group = self._group.flat, self._group
        used = torch.ones_like(self._steps)
        rows = []
        for name, own in zip(group.names, gradients, strict=True):
            place = group.places[name]
            if own is None:
                used[place] = 0.0
                own = flat.new_zeros(()).expand(group.size, place.stop - place.start)
            rows.append(own.flatten(1).float())
        rows.append(flat.new_zeros(group.size, flat.shape[1] - group.places[group.names[-1]].stop))
        gradient = torch.cat(rows, dim=1)
        norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
        gradient.mul_((self._clip / (norm + 1e-6)).clamp_(max=1.0))
        self._steps += used
        self._mean.lerp_(gradient, (1 - BETA1) * used)
        self._square.lerp_(gradient.square(), (1 - BETA2) * used)
        rates = self._rates * factor * used
        flat.mul_(1 - rates * self._decays)
        counted = self._steps.clamp(min=1.0)
        deviation = self._square.div(1 - BETA2**counted).sqrt_().add_(EPSILON)
        flat.sub_(self._mean.div(1 - BETA1**counted).div_(deviation).mul_(rates))
        group.sync()
