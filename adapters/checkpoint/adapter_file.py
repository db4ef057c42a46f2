"""bytes <-> Adapter: one safetensors file whose metadata has one key, `adakron`, a canonical JSON object.

Version 1 of the format writes the object in ASCII, version 2 in UTF-8.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import cast, get_args

import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor

from adapters.adapter import Adapter, AdapterMetadata
from adapters.checkpoint.container import read_container
from adapters.checkpoint.second_parser import read_tensors
from adapters.checkpoint.strict_json import JsonFault, parse_json
from adapters.checkpoint.tensor_checks import check_tensors
from adapters.config import FORMAT_VERSIONS, BackboneIdentity
from adapters.errors import CheckpointError, Reason

METADATA_KEY = "adakron"
MAX_FILE_BYTES = 64 * 1024 * 1024  # an adapter of r=48 for BERT-large has 6.4 MB
_MAX_DEPTH = 8
_REASONS: Mapping[tuple[int | str, ...], Reason] = {  # of a field that is wrong in itself
    ("p",): "bottleneck",
    ("q",): "bottleneck",
    ("layers",): "layer_index",
    ("task", "type"): "task_type",
    ("task", "max_length"): "max_length",
    ("task", "temperature"): "temperature",
    ("metrics",): "metrics",
    ("examples",): "examples",
}


def serialize(metadata: AdapterMetadata, tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> bytes:
    """The adapter file: `tensors` by the names of `metadata.tensor_shapes()`, stored as float32 or float16.

    Equal values give equal bytes. Raises CheckpointError where `parse` would refuse the result.
    """
    stored = {name: tensors[name].detach().to("cpu", dtype).contiguous() for name in metadata.tensor_shapes()}
    data = safetensors.torch.save(stored, metadata={METADATA_KEY: canonical_json(metadata)})
    parse(data)
    return data


def canonical_json(metadata: AdapterMetadata) -> str:
    """Sorted keys, no white space, no character escaped that need not be (in version 1: that is ASCII): one text for
    one value."""
    return json.dumps(
        metadata.model_dump(mode="json"),
        ensure_ascii=metadata.format_version == 1,
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
    )


def parse(data: bytes, backbone: BackboneIdentity | None = None) -> Adapter:
    """The adapter in `data`, checked in every respect that needs no forward pass.

    With `backbone`, the adapter must have been made for it. Raises CheckpointError with a reason code, whatever
    the bytes are, and nothing else. What our own checks refuse is refused before any tensor is copied.
    """
    if len(data) > MAX_FILE_BYTES:
        raise CheckpointError("file_too_large", f"the file has {len(data)} bytes; at most {MAX_FILE_BYTES} are read")
    container = read_container(data)
    if set(container.metadata) != {METADATA_KEY}:
        raise CheckpointError("metadata_key", f"__metadata__ must have one key, {METADATA_KEY}: no AdaKron adapter")
    metadata = _parse_metadata(container.metadata[METADATA_KEY])
    if backbone is not None:
        _check_backbone(metadata.backbone, backbone)
    check_tensors(data, container, metadata)
    return Adapter(metadata, read_tensors(data, container), hashlib.sha256(data).hexdigest())


def _parse_metadata(text: str) -> AdapterMetadata:
    _check_json(text)
    try:
        metadata = AdapterMetadata.model_validate_json(text)
    except ValidationError as error:
        raise _explained(error) from None
    if canonical_json(metadata) != text:
        raise CheckpointError(
            "metadata_not_canonical",
            "the adakron metadata is not canonical JSON (sorted keys, no spaces, characters escaped only where JSON "
            "asks for it, in version 1 all that are not ASCII)",
        )
    return metadata


def _check_json(text: str) -> None:
    """Strict JSON of a version that is read here; its values are parsed again into the model, and freed before."""
    try:
        values = parse_json(text, max_depth=_MAX_DEPTH, naturals_only=False)
    except JsonFault as error:
        raise CheckpointError(cast(Reason, f"metadata_{error.fault}"), f"the adakron metadata: {error}") from None
    if not isinstance(values, dict):
        raise CheckpointError("metadata_json", "the adakron metadata is no JSON object")
    version = values.get("format_version")
    if type(version) is not int or version not in FORMAT_VERSIONS:
        raise CheckpointError("format_version", f"format_version {version!r:.20}; this release reads 1 and 2")


def _explained(error: ValidationError) -> CheckpointError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] in get_args(Reason):
        return CheckpointError(cast(Reason, first["type"]), first["msg"])
    if first["type"] == "json_invalid":  # pydantic's parser refuses a lone surrogate, Python's reads it
        return CheckpointError("metadata_json", f"the adakron metadata: {first['msg']}")
    place = first["loc"]
    codes = (code for field, code in _REASONS.items() if place[: len(field)] == field)
    reason: Reason = next(codes, "config")
    return CheckpointError(reason, f"{'.'.join(map(str, place))[:100]}: {first['msg']}")


def _check_backbone(made_for: BackboneIdentity, here: BackboneIdentity) -> None:
    if made_for.weights_sha256 != here.weights_sha256:
        raise CheckpointError(
            "other_backbone",
            f"made for backbone {made_for.name:.60} (weights {made_for.weights_sha256[:12]}), "
            f"this one is {here.name:.60} ({here.weights_sha256[:12]})",
        )
    if made_for.tokenizer_sha256 != here.tokenizer_sha256:
        raise CheckpointError("other_tokenizer", f"made with another tokenizer.json than that of {here.name}")
    if (made_for.hidden_size, made_for.num_layers) != (here.hidden_size, here.num_layers):
        raise CheckpointError("other_backbone", f"hidden_size or num_layers are not those of {here.name}")
