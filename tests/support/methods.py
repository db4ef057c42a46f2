"""Models of the methods of training, with random weights, on a given backbone."""

import numpy as np
import torch
from torch import Tensor

from adapters.backbone.encoder import Backbone
from adapters.backbone.packing import Packing
from adapters.backbone.text_encoder import Encoding
from adapters.config import AdapterConfig, Pooling, TaskSpec, TaskType
from adapters.method.model import AdapterModel
from service.train.fit.methods import build_model
from service.train.fit.methods.tuned import TunedModel
from service.train.recipes import Method

TUNED: tuple[Method, ...] = ("houlsby", "lora", "prefix-tuning", "unipelt-ap", "unipelt-apl")
AT_SITE: tuple[Method, ...] = ("pfeiffer", "adamix")


def make_model(
    method: Method, backbone: Backbone, width: int = 8, *, type: TaskType = "single_label", pooling: Pooling = "mean"
) -> AdapterModel:
    """The model of `method`, not initialised, with an adapter in every layer; two labels, or a number."""
    config = AdapterConfig(
        backbone=backbone.identity,
        p=width // 4,
        q=4,
        layers=tuple(range(len(backbone.layers))),
        task=TaskSpec(
            type=type, labels=() if type == "regression" else ("a", "b"), pair=False, pooling=pooling, max_length=32
        ),
    )
    return build_model(method, 4, backbone, config)


@torch.no_grad()
def randomise(model: AdapterModel) -> AdapterModel:
    """Draw all weights that learn, so that every part has an effect; returns the model."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.normal_(std=0.3)
    return model


def pack(encodings: list[Encoding]) -> tuple[Tensor, Tensor, Packing]:
    """Token ids [T], type ids [T] and the packing of `encodings`."""
    token_ids = torch.from_numpy(np.concatenate([item.token_ids for item in encodings]))
    type_ids = torch.from_numpy(np.concatenate([item.type_ids for item in encodings]))
    return token_ids, type_ids, Packing.of([len(item) for item in encodings])


def run(model: AdapterModel, encodings: list[Encoding]) -> Tensor:
    """Hidden states of the last layer, [T, H]."""
    batch = pack(encodings)
    return model.encode(*batch) if isinstance(model, TunedModel) else model.backbone(*batch, model.site)
