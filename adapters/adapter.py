"""Adapter: an immutable value of metadata, tensors and digest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import FailFast, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from adapters.backbone.text_encoder import TextInput
from adapters.config import AdapterConfig, Frozen

if TYPE_CHECKING:  # the server's process reads metadata without importing torch
    from torch import Tensor

MAX_EXAMPLES = 16
MAX_EXAMPLE_CHARS = 24 * 1024  # of all inputs together: the dry run of an upload computes all of them
MAX_METRICS = 32

MetricName = Annotated[str, Field(pattern=r"^[ -~]{1,64}$")]


class GoldenExample(Frozen):
    """An input and the logits that the trainer computed for it; the server must compute the same."""

    inputs: str | tuple[str, str]
    logits: Annotated[tuple[float, ...], FailFast()]

    @property
    def text_input(self) -> TextInput:
        """The input in the type that TextEncoder takes."""
        return self.inputs


class AdapterMetadata(AdapterConfig):
    """The JSON object in an adapter file: the config, and the origin of the adapter."""

    # set by the trainer
    training: dict[str, JsonValue] = {}  # library versions, seed, hyper-parameters, data
    metrics: Annotated[dict[MetricName, float], Field(max_length=MAX_METRICS)] = {}  # scores on the validation data
    examples: Annotated[tuple[GoldenExample, ...], FailFast(), Field(max_length=MAX_EXAMPLES)] = ()

    @model_validator(mode="after")
    def _check_examples(self) -> Self:
        for index, example in enumerate(self.examples):
            is_pair = not isinstance(example.inputs, str)
            if is_pair != self.task.pair or len(example.logits) != self.task.num_outputs:
                raise PydanticCustomError(
                    "examples", "example {index} does not fit the task (pair, number of logits)", {"index": index}
                )
        if sum(len("".join(example.inputs)) for example in self.examples) > MAX_EXAMPLE_CHARS:
            raise PydanticCustomError(
                "examples", "the examples' texts are over {most} characters", {"most": MAX_EXAMPLE_CHARS}
            )
        return self


@dataclass(frozen=True, eq=False)
class Adapter:
    """The weights of one task. `checkpoint` makes one, so the digest names exactly the bytes read, or a gated file.

    The adapter of a key (`adapters.gates`) has the digest of the gated file that it was merged from.
    """

    metadata: AdapterMetadata
    tensors: "Mapping[str, Tensor]"  # named as in AdapterConfig.tensor_shapes; float32 or float16, on the CPU
    digest: str  # SHA-256 of the file, 64 hex digits

    @property
    def num_bytes(self) -> int:
        """The size of the tensors as stored in the file."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors.values())
