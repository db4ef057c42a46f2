"""Load a backbone: its weights on a device, and its tokenizer."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from adapters.backbone.encoder import Backbone
from adapters.backbone.files import BackboneSource, find_backbone
from adapters.backbone.text_encoder import TextEncoder
from adapters.config import DEFAULT_BACKBONE, BackboneIdentity
from adapters.errors import BackboneError

_PREFIX = "bert."  # in checkpoints that also have a task head
_OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


@dataclass(frozen=True)
class LoadedBackbone:
    """A backbone on its device, with its tokenizer."""

    backbone: Backbone
    source: BackboneSource

    @property
    def identity(self) -> BackboneIdentity:
        """The identity that adapters for this backbone carry."""
        return self.source.identity

    @property
    def encoder(self) -> TextEncoder:
        """The encoder of texts to token ids."""
        return self.source.encoder


def load_backbone(
    name: str = DEFAULT_BACKBONE, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> LoadedBackbone:
    """Load the BERT called `name`, frozen, on `device` in `dtype`.

    Raises BackboneError if it cannot be found or is not a BERT encoder.
    """
    source = find_backbone(name)
    weights = read_weights(source.folder / "model.safetensors", name)
    backbone = Backbone.from_weights(source.shape, weights, source.identity)
    return LoadedBackbone(backbone.convert(device, dtype), source)


def read_weights(file: Path, name: str) -> dict[str, Tensor]:
    """Read weights, named as in transformers' BertModel, in their stored dtypes. Raises BackboneError if damaged."""
    try:
        tensors = load_file(file)
    except SafetensorError as error:
        raise BackboneError(f"backbone {name!r}: {file} cannot be read: {error}") from error
    if any(key.startswith(_PREFIX) for key in tensors):
        tensors = {key.removeprefix(_PREFIX): tensor for key, tensor in tensors.items() if key.startswith(_PREFIX)}
    for old, new in _OLD_NAMES.items():
        tensors = {key.replace(old, new): tensor for key, tensor in tensors.items()}
    return tensors
