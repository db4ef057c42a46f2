"""bytes <-> Adapter: one safetensors file whose metadata has one key, `adakron`, a canonical JSON object."""

import hashlib
import json
from collections.abc import Mapping
from typing import NoReturn

import safetensors
import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor

from adapters.adapter import Adapter, AdapterMetadata
from adapters.config import BackboneIdentity
from adapters.container import read_container
from adapters.errors import CheckpointError

METADATA_KEY = "adakron"
FORMAT_VERSION = 1
MAX_MAGNITUDE = 1e4  # of a weight: far above any trained one, far below what overflows float16


def dumps(metadata: AdapterMetadata, tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> bytes:
    """The adapter file: `tensors` by the names of `metadata.tensor_shapes()`, stored as float32 or float16.

    Equal values give equal bytes. Raises CheckpointError where `loads` would refuse the result.
    """
    stored = {name: tensors[name].detach().to("cpu", dtype).contiguous() for name in metadata.tensor_shapes()}
    data = safetensors.torch.save(stored, metadata={METADATA_KEY: canonical_json(metadata)})
    loads(data)
    return data


def canonical_json(metadata: AdapterMetadata) -> str:
    """Sorted keys, no white space, ASCII: one text for one value."""
    return json.dumps(metadata.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False)


def loads(data: bytes, backbone: BackboneIdentity | None = None) -> Adapter:
    """The adapter in `data`, checked in every respect that needs no forward pass.

    With `backbone`, the adapter must have been made for it. Raises CheckpointError with a reason code.
    """
    described, entries = read_container(data)
    if set(described) != {METADATA_KEY}:
        _refuse("metadata", f"__metadata__ must have one key, {METADATA_KEY}: this is no AdaKron adapter")
    metadata = _parse_metadata(described[METADATA_KEY])
    if backbone is not None:
        _check_backbone(metadata.backbone, backbone)
    shapes = metadata.tensor_shapes()
    if missing := sorted(shapes.keys() - entries.keys()):
        _refuse("tensor_missing", f"tensor {missing[0]} is missing ({len(missing)} in all)")
    if extra := sorted(entries.keys() - shapes.keys()):
        _refuse("tensor_extra", f"tensor {extra[0]} is not part of this adapter ({len(extra)} in all)")
    for name, shape in shapes.items():
        if entries[name].shape != shape:
            _refuse("tensor_shape", f"tensor {name} has shape {entries[name].shape}, not {shape}")
    if len({entry.dtype for entry in entries.values()}) > 1:
        _refuse("tensor_dtype", "the tensors have several dtypes")
    tensors = _read_tensors(data)
    for name, tensor in tensors.items():
        _check_values(name, tensor)
    return Adapter(metadata, tensors, hashlib.sha256(data).hexdigest())


def _refuse(reason: str, message: str) -> NoReturn:
    raise CheckpointError(reason, message)


def _parse_metadata(text: str) -> AdapterMetadata:
    try:
        version = json.loads(text)["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        _refuse("metadata", "the adakron metadata is not a JSON object with a format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        _refuse("format_version", f"format_version {str(version)[:20]}; this release reads {FORMAT_VERSION}")
    try:
        metadata = AdapterMetadata.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "task"
        _refuse("config", f"{place}: {first['msg']}")
    if canonical_json(metadata) != text:
        _refuse("metadata", "the adakron metadata is not canonical JSON (sorted keys, no spaces, each key once)")
    for index, example in enumerate(metadata.examples):
        if isinstance(example.inputs, str) == metadata.task.pair or len(example.logits) != metadata.task.num_outputs:
            _refuse("config", f"examples.{index} does not fit the task (pair, number of logits)")
    return metadata


def _check_backbone(made_for: BackboneIdentity, here: BackboneIdentity) -> None:
    if made_for.weights_sha256 != here.weights_sha256:
        _refuse(
            "other_backbone",
            f"made for backbone {made_for.name} (weights {made_for.weights_sha256[:12]}), "
            f"this one is {here.name} ({here.weights_sha256[:12]})",
        )
    if made_for.tokenizer_sha256 != here.tokenizer_sha256:
        _refuse("other_tokenizer", f"made with another tokenizer.json than that of {here.name}")
    if (made_for.hidden_size, made_for.num_layers) != (here.hidden_size, here.num_layers):
        _refuse("other_backbone", f"hidden_size or num_layers are not those of {here.name}")


def _read_tensors(data: bytes) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError, RuntimeError) as error:
        _refuse("container_library", f"the safetensors library refuses the file: {error}")


def _check_values(name: str, tensor: Tensor) -> None:
    largest = float(tensor.abs().max())  # NaN if any is NaN
    if not largest < float("inf"):
        _refuse("not_finite", f"tensor {name} holds NaN or Inf")
    if largest > MAX_MAGNITUDE:
        _refuse("magnitude", f"tensor {name} holds {largest:.3g}; at most {MAX_MAGNITUDE:.0e} is allowed")
