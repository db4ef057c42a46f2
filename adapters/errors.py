"""Exceptions of the method.

AdapterError
├── CheckpointError     a file is not an adapter that this backbone can use (has a reason code)
├── GateKeyError        a key cannot choose a gate
├── BackboneError       a backbone cannot be found, read or used
└── EncodingError       a text cannot be turned into token ids
    └── TooLongError    the text is over the limit and may not be truncated
"""

from typing import Literal

MAX_MESSAGE_CHARS = 280

Reason = Literal[
    "file_too_large",
    "container_too_short",
    "container_foreign_format",
    "container_header_length",
    "container_header_past_end",
    "container_byte_order_mark",
    "container_white_space",
    "container_not_object",
    "container_not_utf8",
    "container_json",
    "container_nesting",
    "container_duplicate_key",
    "container_float",
    "container_negative",
    "container_bool",
    "container_large_integer",
    "container_not_a_number",
    "container_no_metadata",
    "container_metadata_type",
    "container_metadata_too_large",
    "container_no_tensor",
    "container_too_many_tensors",
    "container_name_characters",
    "container_tensor_name",
    "container_unknown_field",
    "container_missing_field",
    "container_mistyped_field",
    "container_dtype",
    "container_rank",
    "container_zero_size",
    "container_shape_overflow",
    "container_offsets",
    "container_span",
    "container_hole",
    "container_overlap",
    "container_misaligned",
    "container_truncated",
    "container_trailing_bytes",
    "metadata_key",
    "metadata_json",
    "metadata_nesting",
    "metadata_duplicate_key",
    "metadata_large_integer",
    "metadata_not_a_number",
    "metadata_not_canonical",
    "format_version",
    "config",
    "bottleneck",
    "layer_index",
    "task_type",
    "label_count",
    "label_empty",
    "label_duplicate",
    "label_too_long",
    "label_characters",
    "max_length",
    "temperature",
    "gates",
    "metrics",
    "examples",
    "other_backbone",
    "other_tokenizer",
    "tensor_missing",
    "tensor_extra",
    "tensor_shape",
    "tensor_dtype",
    "not_finite",
    "magnitude",
    "gate_values",
    "gate_keys",
    "pooling",
    "dry_run_shape",
    "dry_run_not_finite",
    "dry_run_batch",
    "no_effect",
    "golden_examples",
]


class AdapterError(Exception):
    """Base class of the exceptions of `adapters`."""


class CheckpointError(AdapterError):
    """A file is refused; `reason` is a stable code from docs/adapter-format.md.

    The message may quote the file, so unprintable characters are escaped and long messages are cut.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        plain = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in message[:MAX_MESSAGE_CHARS])
        super().__init__(plain[:MAX_MESSAGE_CHARS])
        self.reason = reason


class GateKeyError(AdapterError):
    """A key is empty, too long or not Unicode text, so it can have no gate."""


class BackboneError(AdapterError):
    """A backbone cannot be found, read or used."""


class EncodingError(AdapterError):
    """The text at `index` of a list of inputs cannot be turned into token ids."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


class TooLongError(EncodingError):
    """The text at `index` has more tokens than the task allows and truncation is "error"."""
