"""The strict check of a safetensors container, before any library reads it.

The safetensors library accepts more than its specification allows (duplicate names, holes, unknown fields, huge
empty shapes); whatever passes here has exactly one meaning.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from adapters.errors import CheckpointError

MAX_HEADER_BYTES = 64 * 1024
MAX_TENSORS = 1024
MAX_RANK = 4
ITEM_BYTES = {"F32": 4, "F16": 2}  # the types that an adapter may use
_MAX_INTEGER = 2**53
_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*", re.ASCII)
_FIELDS = {"dtype", "shape", "data_offsets"}


@dataclass(frozen=True)
class TensorEntry:
    """One tensor as the header gives it; `start` and `stop` are offsets in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def read_container(data: bytes) -> tuple[Mapping[str, str], Mapping[str, TensorEntry]]:
    """The metadata and the tensors' places in a safetensors file, without touching the tensors.

    Raises CheckpointError, whose reason begins with `container_`.
    """
    if len(data) < 8:
        _refuse("truncated", f"{len(data)} bytes are too few for a safetensors file")
    header_bytes = int.from_bytes(data[:8], "little")
    if not 2 <= header_bytes <= MAX_HEADER_BYTES:
        _refuse("header_length", f"header length {header_bytes} is not in 2..{MAX_HEADER_BYTES}: no adapter file")
    if 8 + header_bytes > len(data):
        _refuse("truncated", f"the header needs {8 + header_bytes} bytes, the file has {len(data)}")
    header = _parse_json(data[8 : 8 + header_bytes])
    metadata = _metadata(header.pop("__metadata__", None))
    if not 1 <= len(header) <= MAX_TENSORS:
        _refuse("tensor_count", f"{len(header)} tensors; 1 to {MAX_TENSORS} are allowed")
    body = 8 + header_bytes
    entries = {name: _entry(name, value, body) for name, value in header.items()}
    _check_layout(entries, body, len(data))
    return metadata, entries


def _refuse(reason: str, message: str) -> NoReturn:
    raise CheckpointError(f"container_{reason}", message)


def _parse_json(raw: bytes) -> dict[str, Any]:
    if raw[:1] != b"{":
        _refuse("json", "the header does not start with '{'")
    try:
        header = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_float=lambda text: _refuse("json", f"number {text[:40]} in the header is no integer"),
            parse_constant=lambda text: _refuse("json", f"{text} in the header"),
        )
    except UnicodeDecodeError:
        _refuse("json", "the header is not UTF-8")
    except (ValueError, RecursionError) as error:
        _refuse("json", f"the header is not JSON: {str(error)[:200]}")
    if raw.rstrip(b" ")[-1:] != b"}":
        _refuse("json", "the header does not end with '}'")
    assert isinstance(header, dict)  # it starts with '{'
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        _refuse("duplicate_key", "a key stands twice in one object of the header")
    return result


def _metadata(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        _refuse("metadata", "__metadata__ must be an object of strings")
    return value


def _entry(name: str, value: Any, body: int) -> TensorEntry:
    if not _NAME.fullmatch(name) or len(name) > 200:
        _refuse("tensor_name", f"tensor name {name[:60]!r}")
    if not isinstance(value, dict) or set(value) != _FIELDS:
        _refuse("tensor_fields", f"tensor {name}: the fields must be {', '.join(sorted(_FIELDS))}")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        _refuse("dtype", f"tensor {name}: dtype {str(dtype)[:20]} is not one of {', '.join(ITEM_BYTES)}")
    if not _integers(shape) or not 1 <= len(shape) <= MAX_RANK or min(shape) < 1:
        _refuse("shape", f"tensor {name}: the shape must be 1 to {MAX_RANK} positive integers")
    if not _integers(offsets) or len(offsets) != 2 or not 0 <= offsets[0] < offsets[1]:
        _refuse("offsets", f"tensor {name}: data_offsets must be two ascending integers")
    if offsets[1] - offsets[0] != math.prod(shape) * ITEM_BYTES[dtype]:
        _refuse("offsets", f"tensor {name}: its bytes are not shape times size of {dtype}")
    return TensorEntry(dtype, tuple(shape), body + offsets[0], body + offsets[1])


def _integers(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item <= _MAX_INTEGER for item in value)


def _check_layout(entries: Mapping[str, TensorEntry], body: int, file_bytes: int) -> None:
    at = body
    for name, entry in sorted(entries.items(), key=lambda item: item[1].start):
        if entry.start != at:
            _refuse("layout", f"tensor {name} leaves a hole or overlaps another")
        if (entry.start - body) % ITEM_BYTES[entry.dtype]:
            _refuse("layout", f"tensor {name} is not aligned")
        at = entry.stop
    if at > file_bytes:
        _refuse("truncated", f"the tensors need {at} bytes, the file has {file_bytes}: it was cut")
    if at < file_bytes:
        _refuse("layout", f"{file_bytes - at} bytes after the last tensor")
