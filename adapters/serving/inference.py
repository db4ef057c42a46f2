"""Logits of one adapter by the trainable model: for evaluation, golden examples and the dry run of an upload."""

from collections.abc import Sequence

import numpy as np
import torch

from adapters.adapter import Adapter
from adapters.backbone.packing import Packing
from adapters.backbone.source import LoadedBackbone
from adapters.backbone.text_encoder import Encoding, TextInput
from adapters.gates import GatedAdapter
from adapters.method.gated import GatedModel
from adapters.method.model import AdapterModel


def to_model(loaded: LoadedBackbone, adapter: Adapter) -> AdapterModel:
    """Make a module of the adapter and its backbone, in evaluation mode and the backbone's dtype."""
    model = AdapterModel(loaded.backbone, adapter.metadata)
    model.load_state_dict({name: tensor.float() for name, tensor in adapter.tensors.items()})
    model.layers.to(loaded.backbone.dtype)
    return model.to(loaded.backbone.device).eval()


def to_gated_model(loaded: LoadedBackbone, adapter: GatedAdapter) -> GatedModel:
    """Make a module of the gated adapter and its backbone, in evaluation mode; key n is row n of the table."""
    gates = adapter.gates
    model = GatedModel(loaded.backbone, adapter.metadata, gates.config.num_experts, len(gates.digests))
    model.load_state_dict({name: tensor.float() for name, tensor in adapter.tensors.items()}, strict=False)
    model.gates.assign(gates.table)
    return model.to(loaded.backbone.device).eval()


def predict_logits(
    loaded: LoadedBackbone, adapter: Adapter, inputs: Sequence[TextInput], *, max_tokens: int = 4096
) -> np.ndarray:
    """Return the logits [N, num_outputs] float32 of N inputs, tokenized as the adapter was trained."""
    encodings = loaded.encoder.encode_for(adapter.metadata.task, inputs)
    return forward_encodings(to_model(loaded, adapter), encodings, max_tokens=max_tokens)


@torch.inference_mode()
def forward_encodings(
    model: AdapterModel,
    encodings: Sequence[Encoding],
    *,
    keys: np.ndarray | None = None,
    max_tokens: int = 4096,
) -> np.ndarray:
    """Return the logits [N, num_outputs] float32 of `encodings`, in their order.

    Computed shortest first, in batches of at most `max_tokens`. `keys` [N] are those of a GatedModel.
    """
    device = model.backbone.device
    order = sorted(range(len(encodings)), key=lambda index: len(encodings[index]))
    logits = np.empty((len(encodings), model.config.task.num_outputs), dtype=np.float32)
    at = 0
    while at < len(order):
        batch: list[int] = []
        tokens = 0
        while at < len(order) and (not batch or tokens + len(encodings[order[at]]) <= max_tokens):
            batch.append(order[at])
            tokens += len(encodings[order[at]])
            at += 1
        chosen = [encodings[index] for index in batch]
        token_ids = torch.from_numpy(np.concatenate([item.token_ids for item in chosen])).to(device)
        type_ids = torch.from_numpy(np.concatenate([item.type_ids for item in chosen])).to(device)
        packing = Packing.of([len(item) for item in chosen], device)
        chosen_keys = () if keys is None else (torch.from_numpy(keys[batch]).to(device),)
        logits[batch] = model(token_ids, type_ids, packing, *chosen_keys).float().cpu().numpy()
    return logits
