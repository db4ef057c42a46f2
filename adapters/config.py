"""AdapterConfig: the shape and the task of an adapter, without its tensors. Immutable; validated when built.

If the type of a validation error is a reason code (docs/adapter-format.md), `checkpoint` raises it with that code.
"""

import hashlib
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, FailFast, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from adapters.errors import GateKeyError

DEFAULT_BACKBONE = "sentence-transformers/all-MiniLM-L6-v2"
MAX_LAYERS = 128
FORMAT_VERSIONS = (1, 2, 3)
GATED_VERSION: Final = 3
MAX_LABELS = 1024
MAX_LABEL_CHARS = 200
MIN_EXPERTS, MAX_EXPERTS = 2, 64
GATE_FIELD_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"
MAX_KEY_BYTES = 256  # of a gate's key in UTF-8
DIGEST_BYTES = 16  # of a gate's salt, and of a salted key
MEAN_GATE = "mean"  # its name in an answer; other gates have the name of their field
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0
GATE_TABLE, GATE_MEAN, GATE_KEYS = "gates.table", "gates.mean", "gates.keys"  # tensors of a gated file

_INVISIBLE_BUT_NEEDED = dict.fromkeys(map(ord, "\u200c\u200d\u00a0\u202f"))

TaskType = Literal["single_label", "multi_label", "regression"]
Pooling = Literal["cls", "mean", "pooler"]
TrainedTruncation = Literal["right", "left", "head-tail"]  # the end of an over-long input that is cut off
SpecialTokens = Literal["obeyed", "text"]  # whether [SEP], [MASK] etc. in a text are special
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def is_label_text(text: str) -> bool:
    """Whether every character is printable or one of four that ordinary words need.

    Those are the joiners of Persian and of emoji (U+200C, U+200D) and the no-break spaces (U+00A0, U+202F).
    """
    return text.translate(_INVISIBLE_BUT_NEEDED).isprintable()


class Frozen(BaseModel):
    """Base of immutable values, strict about types, without unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class BackboneIdentity(Frozen):
    """The frozen encoder that an adapter was trained on. Two are the same if both digests are equal."""

    name: Annotated[str, Field(min_length=1, max_length=200)]  # given by the user; not compared
    hidden_size: Annotated[int, Field(ge=1, le=8192)]
    num_layers: Annotated[int, Field(ge=1, le=MAX_LAYERS)]
    weights_sha256: Sha256  # of model.safetensors
    tokenizer_sha256: Sha256  # of tokenizer.json


class TaskSpec(Frozen):
    """The inputs and outputs of a task."""

    type: TaskType
    labels: Annotated[tuple[str, ...], FailFast()]  # empty for regression
    pair: bool  # an input is two texts
    pooling: Pooling
    max_length: Annotated[int, Field(ge=4, le=8192)]  # tokens, special ones included
    # divides the logits before softmax or sigmoid; 1 is always left out of the file
    temperature: Annotated[
        float, Field(ge=MIN_TEMPERATURE, le=MAX_TEMPERATURE, exclude_if=lambda value: value == 1.0)
    ] = 1.0
    # the rules of tokenizing; these defaults are always left out of the file
    truncation: Annotated[TrainedTruncation, Field(exclude_if=lambda value: value == "right")] = "right"
    special_tokens: Annotated[SpecialTokens, Field(exclude_if=lambda value: value == "obeyed")] = "obeyed"

    @property
    def num_outputs(self) -> int:
        """Width of the logits: the number of labels, or 1 for a regression."""
        return 1 if self.type == "regression" else len(self.labels)

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        least, most = {"regression": (0, 0), "single_label": (2, MAX_LABELS), "multi_label": (1, MAX_LABELS)}[self.type]
        if not least <= len(self.labels) <= most:
            raise PydanticCustomError(
                "label_count",
                "{type} has {least} to {most} labels, not {count}",
                {"type": self.type, "least": least, "most": most, "count": len(self.labels)},
            )
        for label in self.labels:
            if not label:
                raise PydanticCustomError("label_empty", "a label is empty")
            if len(label) > MAX_LABEL_CHARS:
                raise PydanticCustomError(
                    "label_too_long", "a label has over {most} characters", {"most": MAX_LABEL_CHARS}
                )
            if not is_label_text(label):
                raise PydanticCustomError(
                    "label_characters", "label {label} has characters that do not print", {"label": ascii(label[:40])}
                )
        if len(set(self.labels)) != len(self.labels):
            raise PydanticCustomError("label_duplicate", "a label appears twice")
        return self

    @model_validator(mode="after")
    def _check_temperature(self) -> Self:
        if self.type == "regression" and self.temperature != 1.0:
            raise PydanticCustomError("temperature", "a regression has no probabilities, so no temperature")
        return self


class GatesConfig(Frozen):
    """The gates of a file: how many experts they mix, and by which field of a request.

    Keys, the values of that field, are in the file as salted digests only.
    """

    field: Annotated[str, Field(pattern=GATE_FIELD_PATTERN)]  # "user"; also the column it was trained by
    num_experts: Annotated[int, Field(ge=MIN_EXPERTS, le=MAX_EXPERTS)]  # K
    salt: Annotated[str, Field(pattern=rf"^[0-9a-f]{{{2 * DIGEST_BYTES}}}$")]  # drawn by the trainer, in hex

    @field_validator("field")
    @classmethod
    def _check_field(cls, field: str) -> str:
        if field == MEAN_GATE:
            raise PydanticCustomError("gates", "gates.field: an answer names the mean gate so; give another name")
        return field

    def digest(self, key: str) -> bytes:
        """Return the 16 bytes by which the file knows `key`: BLAKE2b (RFC 7693) of its UTF-8, with the salt.

        Raises GateKeyError for an empty key, one over MAX_KEY_BYTES, and one with a lone surrogate.
        """
        try:
            encoded = key.encode()
        except UnicodeEncodeError:
            raise GateKeyError(f"the {self.field} has a lone surrogate: it is not Unicode text") from None
        if not 0 < len(encoded) <= MAX_KEY_BYTES:
            raise GateKeyError(
                f"the {self.field} has {len(encoded)} bytes in UTF-8; give a key of 1 to {MAX_KEY_BYTES} bytes"
            )
        return hashlib.blake2b(encoded, digest_size=DIGEST_BYTES, salt=bytes.fromhex(self.salt)).digest()


class AdapterConfig(Frozen):
    """The shape of an AdaKron adapter (Braga et al. 2024): bottleneck r = p * q in each of `layers`.

    With `gates` it is the shape of each plain adapter that the file's experts merge to.
    """

    format_version: Literal[1, 2, 3] = 2  # 2: UTF-8, and rules of tokenizing; 3: gates
    backbone: BackboneIdentity
    p: Annotated[int, Field(ge=1, le=1024)]  # width of W_a's output
    q: Annotated[int, Field(ge=1, le=1024)] = 4  # width of W_b's output
    layers: Annotated[tuple[int, ...], FailFast(), Field(min_length=1)]  # ascending indices from 0
    activation: Literal["gelu"] = "gelu"  # exact, by erf
    task: TaskSpec
    gates: Annotated[GatesConfig | None, Field(exclude_if=lambda value: value is None)] = None

    @model_validator(mode="after")
    def _check_version(self) -> Self:
        if (self.gates is None) == (self.format_version == GATED_VERSION):
            raise PydanticCustomError("config", "a file has gates if, and only if, its format_version is 3")
        if self.format_version == 1 and (self.task.truncation, self.task.special_tokens) != ("right", "obeyed"):
            raise PydanticCustomError("config", "a file of format_version 1 has no truncation and no special_tokens")
        return self

    @model_validator(mode="after")
    def _check_layers(self) -> Self:
        if any(a >= b for a, b in zip(self.layers, self.layers[1:], strict=False)):
            raise PydanticCustomError("layer_index", "layers must ascend without repeats")
        if self.layers[0] < 0 or self.layers[-1] >= self.backbone.num_layers:
            raise PydanticCustomError(
                "layer_index", "layers must lie in 0..{last}", {"last": self.backbone.num_layers - 1}
            )
        return self

    @property
    def bottleneck(self) -> int:
        """r, the width of the Kronecker product."""
        return self.p * self.q

    @property
    def num_parameters(self) -> int:
        """Parameters of the adapters in all layers, as the paper counts them: without the head."""
        hidden, rank = self.backbone.hidden_size, self.bottleneck
        down = (self.p + self.q) * (hidden + 1)
        up = hidden * rank + hidden
        return len(self.layers) * (down + up)

    @property
    def num_head_parameters(self) -> int:
        """Parameters of the task's linear head."""
        return self.task.num_outputs * (self.backbone.hidden_size + 1)

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of a plain adapter by name, with its shape; the order is that of the file."""
        hidden = self.backbone.hidden_size
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in self.layers:
            for name, rows, columns in (
                ("down_a", self.p, hidden),
                ("down_b", self.q, hidden),
                ("up", hidden, self.bottleneck),
            ):
                shapes[f"layers.{layer}.{name}.weight"] = (rows, columns)
                shapes[f"layers.{layer}.{name}.bias"] = (rows,)
        shapes["head.weight"] = (self.task.num_outputs, hidden)
        shapes["head.bias"] = (self.task.num_outputs,)
        return shapes

    def gated_tensor_shapes(self, num_keys: int) -> dict[str, tuple[int, ...]]:
        """Every tensor of a gated file: as `tensor_shapes`, with K experts for the down-projections, and the gates."""
        num_experts = self.gates.num_experts if self.gates else 1
        shapes = {
            name: (num_experts, *shape) if is_expert(name) else shape for name, shape in self.tensor_shapes().items()
        }
        mean = (len(self.layers), num_experts)
        return shapes | {GATE_TABLE: (num_keys, *mean), GATE_MEAN: mean, GATE_KEYS: (num_keys, DIGEST_BYTES)}


def is_expert(name: str) -> bool:
    """Whether a gated file has K experts of the tensor `name`: the down-projections."""
    return ".down_" in name


def slot_bytes(hidden_size: int, item_bytes: int, num_parameters: int, num_outputs: int) -> int:
    """Return the device memory of an adapter with `num_parameters` of `item_bytes` each and a head in float32."""
    return num_parameters * item_bytes + num_outputs * (hidden_size + 1) * 4
