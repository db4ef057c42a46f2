"""Adapter: a frozen value = what the file says of itself + tensors + digest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, JsonValue
from torch import Tensor

from adapters.config import AdapterConfig, Frozen
from adapters.encoding import TextInput

MAX_EXAMPLES = 64


class GoldenExample(Frozen):
    """One input and the logits that the trainer computed for it; a server must get the same."""

    inputs: str | tuple[str, str]
    logits: tuple[float, ...]

    @property
    def text_input(self) -> TextInput:
        """The input as the TextEncoder takes it."""
        return self.inputs


class AdapterMetadata(AdapterConfig):
    """The JSON object in an adapter file: the config, and where the adapter comes from."""

    training: dict[str, JsonValue] = {}  # library versions, seed, hyper-parameters, data; set by the trainer
    metrics: dict[str, float] = {}  # scores on the validation data; set by the trainer
    examples: Annotated[tuple[GoldenExample, ...], Field(max_length=MAX_EXAMPLES)] = ()  # set by the trainer


@dataclass(frozen=True, eq=False)
class Adapter:
    """The weights of one task. Made only by `checkpoint.loads`, so the digest names exactly the bytes read."""

    metadata: AdapterMetadata
    tensors: Mapping[str, Tensor]  # by the names of AdapterConfig.tensor_shapes, float32 or float16, on the CPU
    digest: str  # SHA-256 of the file, 64 hex digits

    @property
    def num_bytes(self) -> int:
        """Size of the tensors as stored."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors.values())
