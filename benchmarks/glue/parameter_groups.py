"""AdamW with the learning rates and weight decays of a variant."""

from collections import defaultdict
from typing import Any

import torch
import transformers
from torch import nn

from benchmarks.glue.variants import Variant, VariantModel


def parameter_groups(
    model: VariantModel, learning_rate: float, weight_decay: float, variant: Variant
) -> list[dict[str, Any]]:
    """The parameters that learn, in a group for each pair of learning rate and weight decay.

    Vectors and scalars have no decay, as in Trainer. The layer i of L has the learning rate times
    layer_rate ** (L - 1 - i) (Howard and Ruder, 2018).
    """
    found: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    last = model.config.backbone.num_layers - 1
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part, *rest = name.split(".")
            depth = last - int(rest[0]) if part == "layers" else 0
            decay = _find_decay(name, weight_decay, variant) if parameter.ndim > 1 else 0.0
            found[learning_rate * variant.layer_rate**depth, decay].append(parameter)
    return [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in found.items()]


def make_optimizer(model: VariantModel, arguments: transformers.TrainingArguments) -> torch.optim.Optimizer:
    """The optimizer that Trainer would make, with the groups of the model's variant."""
    groups = parameter_groups(model, arguments.learning_rate, arguments.weight_decay, model.variant)
    return torch.optim.AdamW(
        groups,
        lr=arguments.learning_rate,
        betas=(arguments.adam_beta1, arguments.adam_beta2),
        eps=arguments.adam_epsilon,
        fused=True,
    )


def _find_decay(name: str, weight_decay: float, variant: Variant) -> float:
    own = None
    if name.startswith("head."):
        own = variant.head_decay
    elif ".down_" in name:
        own = variant.projection_decay
    return weight_decay if own is None else own
