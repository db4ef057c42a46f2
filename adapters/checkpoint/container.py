"""A strict reader of safetensors files, the only one that reads uploads.

The safetensors library accepts more than its specification allows (duplicate names, unknown fields, huge empty
shapes). A file that passes here has exactly one meaning; the mutation tests compare it with the library's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from adapters.checkpoint.strict_json import MAX_INTEGER, JsonFault, parse_json
from adapters.config import GATE_KEYS
from adapters.errors import CheckpointError, Reason

MAX_HEADER_BYTES = 256 * 1024  # holds 1,024 labels of 200 ASCII characters and the other metadata
MAX_METADATA_CHARS = 248 * 1024  # leaves room in the header for the tensors
MAX_TENSORS = 1024
MAX_RANK = 4
MAX_NAME_CHARS = 200
MAX_PADDING = 7  # spaces that align the first tensor to 8 bytes
ITEM_BYTES = {"F32": 4, "F16": 2, "U8": 1}  # the allowed dtypes; U8 for GATE_KEYS only
_MAX_DEPTH = 4
_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*", re.ASCII)
_FIELDS = {"dtype", "shape", "data_offsets"}
_WHITE_SPACE = b" \t\r\n"
_SAVE_AGAIN = "save the adapter with `adakron train`, or with the safetensors library"
_FOREIGN = {  # the ninth byte of a safetensors file is {, unlike the ninth byte of these formats
    b"PK\x03\x04": f"a zip archive, as torch.save writes: {_SAVE_AGAIN}",
    **{bytes([0x80, version]): f"a pickle, which this service never reads: {_SAVE_AGAIN}" for version in range(2, 6)},
    b"GGUF": f"a GGUF file: {_SAVE_AGAIN}",
    b"\x89HDF\r\n\x1a\n": f"an HDF5 file: {_SAVE_AGAIN}",
    b"\x1f\x8b": "compressed by gzip: unpack it first",
    b"version ": "a Git LFS pointer, not the file itself: run `git lfs pull`",
}


@dataclass(frozen=True)
class TensorEntry:
    """A tensor's entry in the header; `start` and `stop` are byte offsets in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Container:
    """A checked header."""

    metadata: Mapping[str, str]
    entries: Mapping[str, TensorEntry]  # without gaps from `body` to the end of the file
    body: int  # offset of the first byte after the header


def read_container(data: bytes) -> Container:
    """Read and check the header of a safetensors file; the tensors' bytes are not read.

    Raises CheckpointError with a reason that begins with `container_`.
    """
    raw = _header(data)
    try:
        header = parse_json(_text(raw), max_depth=_MAX_DEPTH, naturals_only=True)
    except JsonFault as error:
        raise CheckpointError(cast(Reason, f"container_{error.fault}"), f"the header is refused: {error}") from None
    metadata = _metadata(header)
    tensors = {name: value for name, value in header.items() if name != "__metadata__"}
    if not tensors:
        raise CheckpointError("container_no_tensor", "the file has no tensor")
    if len(tensors) > MAX_TENSORS:
        raise CheckpointError("container_too_many_tensors", f"{len(tensors)} tensors; at most {MAX_TENSORS} are read")
    body = 8 + len(raw)
    entries = {name: _entry(name, value, body) for name, value in tensors.items()}
    _check_layout(entries, body, len(data))
    return Container(metadata, entries, body)


def _header(data: bytes) -> bytes:
    if len(data) < 8:
        raise CheckpointError("container_too_short", f"{len(data)} bytes are too few for a safetensors file")
    num_bytes = int.from_bytes(data[:8], "little")
    if data[8:9] != b"{":
        for magic, what in _FOREIGN.items():
            if data.startswith(magic):
                raise CheckpointError("container_foreign_format", f"this is not a safetensors file but {what}")
    if not 2 <= num_bytes <= MAX_HEADER_BYTES:
        raise CheckpointError(
            "container_header_length",
            f"this is not an adapter file: its header would have {num_bytes} bytes, not 2 to {MAX_HEADER_BYTES}",
        )
    if 8 + num_bytes > len(data):
        raise CheckpointError(
            "container_header_past_end", f"the header needs {8 + num_bytes} bytes, the file has {len(data)}: it was cut"
        )
    return data[8 : 8 + num_bytes]


def _text(raw: bytes) -> str:
    if raw.startswith(b"\xef\xbb\xbf"):
        raise CheckpointError("container_byte_order_mark", "the header begins with a byte order mark")
    padding = raw[len(raw.rstrip(_WHITE_SPACE)) :]
    if raw[:1] in _WHITE_SPACE or padding.strip(b" ") or len(padding) > MAX_PADDING:
        raise CheckpointError(
            "container_white_space", f"the header may have white space only at its end: up to {MAX_PADDING} spaces"
        )
    if not raw.startswith(b"{"):
        raise CheckpointError("container_not_object", "the header is not a JSON object: it does not begin with '{'")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError("container_not_utf8", f"byte {error.start} of the header is not UTF-8") from None


def _metadata(header: Mapping[str, Any]) -> Mapping[str, str]:
    if "__metadata__" not in header:
        raise CheckpointError("container_no_metadata", "the header has no __metadata__: this is not an AdaKron adapter")
    metadata = header["__metadata__"]
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError("container_metadata_type", "__metadata__ must be an object of strings")
    if sum(len(key) + len(value) for key, value in metadata.items()) > MAX_METADATA_CHARS:
        raise CheckpointError("container_metadata_too_large", f"__metadata__ is over {MAX_METADATA_CHARS} characters")
    return metadata


def _entry(name: str, value: Any, body: int) -> TensorEntry:
    if not (name.isascii() and name.isprintable()):
        raise CheckpointError("container_name_characters", f"tensor name {name[:60]!r} is not plain ASCII")
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME_CHARS:
        raise CheckpointError("container_tensor_name", f"tensor name {name[:60]!r} is not of the form layers.0.up.bias")
    if not isinstance(value, dict):
        raise CheckpointError("container_mistyped_field", f"tensor {name}: its entry must be an object")
    if unknown := sorted(value.keys() - _FIELDS):
        raise CheckpointError("container_unknown_field", f"tensor {name}: unknown field {unknown[0][:60]!r}")
    if missing := sorted(_FIELDS - value.keys()):
        raise CheckpointError("container_missing_field", f"tensor {name}: field {missing[0]} is missing")
    dtype = value["dtype"]
    if not isinstance(dtype, str):
        raise CheckpointError("container_mistyped_field", f"tensor {name}: dtype must be a string")
    allowed = ("U8",) if name == GATE_KEYS else ("F32", "F16")
    if dtype not in allowed:
        raise CheckpointError(
            "container_dtype", f"tensor {name}: dtype {dtype[:20]!r} is not one of {', '.join(allowed)}"
        )
    shape, offsets = (_integers(name, field, value[field]) for field in ("shape", "data_offsets"))
    if not 1 <= len(shape) <= MAX_RANK:
        raise CheckpointError("container_rank", f"tensor {name} has rank {len(shape)}, not 1 to {MAX_RANK}")
    if 0 in shape:
        raise CheckpointError("container_zero_size", f"tensor {name} has shape {shape}: it has no elements")
    if len(offsets) != 2 or offsets[0] >= offsets[1]:
        raise CheckpointError("container_offsets", f"tensor {name}: data_offsets must be two ascending integers")
    num_bytes = ITEM_BYTES[dtype]
    for size in shape:
        num_bytes *= size
        if num_bytes > MAX_INTEGER:
            raise CheckpointError("container_shape_overflow", f"tensor {name}: {shape} is more than 2^53 bytes")
    if offsets[1] - offsets[0] != num_bytes:
        spanned = offsets[1] - offsets[0]
        raise CheckpointError("container_span", f"tensor {name} needs {num_bytes} bytes, its offsets span {spanned}")
    return TensorEntry(dtype, shape, body + offsets[0], body + offsets[1])


def _integers(name: str, field: str, value: Any) -> tuple[int, ...]:
    if isinstance(value, list) and any(type(item) is bool for item in value):
        raise CheckpointError("container_bool", f"tensor {name}: {field} has true or false instead of a number")
    if not isinstance(value, list) or not all(type(item) is int for item in value):
        raise CheckpointError("container_mistyped_field", f"tensor {name}: {field} must be a list of integers")
    return tuple(value)


def _check_layout(entries: Mapping[str, TensorEntry], body: int, file_bytes: int) -> None:
    at = body
    for name, entry in sorted(entries.items(), key=lambda item: item[1].start):
        if entry.start > at:
            raise CheckpointError("container_hole", f"no tensor has the {entry.start - at} bytes before {name}")
        if entry.start < at:
            raise CheckpointError("container_overlap", f"tensor {name} overlaps the one before it")
        if entry.start % ITEM_BYTES[entry.dtype]:
            raise CheckpointError(
                "container_misaligned", f"tensor {name} is misaligned at byte {entry.start} of the file: {_SAVE_AGAIN}"
            )
        at = entry.stop
    if at > file_bytes:
        raise CheckpointError("container_truncated", f"the tensors need {at} bytes, the file has {file_bytes}: cut off")
    if at < file_bytes:
        raise CheckpointError("container_trailing_bytes", f"{file_bytes - at} bytes follow the last tensor")
