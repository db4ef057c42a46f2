"""The files of a BERT: the sizes in `config.json` and the weights in `model.safetensors`.

Not read by transformers, whose import takes more time and memory than all other imports of a server together.
tests/adapters/backbone/test_encoder.py compares the result with transformers' BertModel.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from adapters.errors import BackboneError

_PREFIX = "bert."  # in checkpoints that also have a task head
_OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


class BertShape(BaseModel):
    """The fields of `config.json` that matter here, with transformers' defaults."""

    model_config = ConfigDict(frozen=True, extra="ignore", from_attributes=True)

    model_type: str = ""
    vocab_size: PositiveInt = 30522
    hidden_size: PositiveInt = 768
    num_hidden_layers: PositiveInt = 12
    num_attention_heads: PositiveInt = 12
    intermediate_size: PositiveInt = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: PositiveInt = 512
    type_vocab_size: PositiveInt = 2
    layer_norm_eps: float = 1e-12
    position_embedding_type: str | None = None  # None: absolute
    is_decoder: bool = False


def read_shape(file: Path, name: str) -> BertShape:
    """Read `config.json`. Raises BackboneError, which mentions `name`, if it is invalid or not a BERT's."""
    try:
        shape = BertShape.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BackboneError(f"backbone {name!r}: {file}: {where and where + ': '}{first['msg']}") from error
    if shape.model_type != "bert":
        raise BackboneError(f"backbone {name!r} is not a BERT (model_type in {file})")
    return shape


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
