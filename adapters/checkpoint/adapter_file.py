"""bytes <-> Adapter or GatedAdapter: a safetensors file whose metadata has one key, `adakron`: canonical JSON.

Version 1 of the format writes the object in ASCII, version 2 in UTF-8. Version 3 has gates.
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
from adapters.checkpoint.container import TensorEntry, read_container
from adapters.checkpoint.strict_json import JsonFault, parse_json
from adapters.checkpoint.tensor_checks import check_tensors
from adapters.config import FORMAT_VERSIONS, GATE_KEYS, GATE_MEAN, GATE_TABLE, BackboneIdentity
from adapters.errors import CheckpointError, Reason
from adapters.gates import GatedAdapter, Gates

METADATA_KEY = "adakron"
MAX_FILE_BYTES = 64 * 1024 * 1024  # an adapter of r=48 for BERT-large has 6.4 MB
_MAX_DEPTH = 8
_DTYPES = {"F32": torch.float32, "F16": torch.float16, "U8": torch.uint8}
_REASONS: Mapping[tuple[int | str, ...], Reason] = {  # reason code of an invalid field
    ("p",): "bottleneck",
    ("q",): "bottleneck",
    ("layers",): "layer_index",
    ("gates",): "gates",
    ("task", "type"): "task_type",
    ("task", "max_length"): "max_length",
    ("task", "temperature"): "temperature",
    ("metrics",): "metrics",
    ("examples",): "examples",
}


def serialize(metadata: AdapterMetadata, tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> bytes:
    """Write an adapter file, gated if `metadata` has gates.

    `tensors` has the names of `metadata.tensor_shapes()`, or of `gated_tensor_shapes`; `dtype`, float32 or float16, is
    that of all except the digests of keys. Equal values give equal bytes. Raises CheckpointError when `parse` would
    refuse the result.
    """
    names = metadata.gated_tensor_shapes(0) if metadata.gates else metadata.tensor_shapes()
    stored = {
        name: tensors[name].detach().to("cpu", torch.uint8 if name == GATE_KEYS else dtype).contiguous()
        for name in names
    }
    data = safetensors.torch.save(stored, metadata={METADATA_KEY: canonical_json(metadata)})
    parse(data)
    return data


def canonical_json(metadata: AdapterMetadata) -> str:
    """Return the only text that a file may have for `metadata`.

    Keys are sorted, there is no white space, and only characters that JSON requires to be escaped are escaped
    (in version 1 also every non-ASCII character).
    """
    return json.dumps(
        metadata.model_dump(mode="json"),
        ensure_ascii=metadata.format_version == 1,
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
    )


def parse(data: bytes, backbone: BackboneIdentity | None = None) -> Adapter | GatedAdapter:
    """Read the adapter in `data`, a GatedAdapter if the file has gates, after every check that needs no forward pass.

    With `backbone`, the adapter must have been made for that backbone. Raises CheckpointError with a reason code for
    any bytes that are not a valid adapter file, and no other exception. Tensors are copied only after the last check.
    """
    if len(data) > MAX_FILE_BYTES:
        raise CheckpointError("file_too_large", f"the file has {len(data)} bytes; at most {MAX_FILE_BYTES} are read")
    container = read_container(data)
    if set(container.metadata) != {METADATA_KEY}:
        raise CheckpointError("metadata_key", f"not an AdaKron adapter: __metadata__ must have one key, {METADATA_KEY}")
    metadata = _parse_metadata(container.metadata[METADATA_KEY])
    if backbone is not None:
        _check_backbone(metadata.backbone, backbone)
    check_tensors(data, container, metadata)
    return _build(metadata, _copy_tensors(data, container.entries), hashlib.sha256(data).hexdigest())


def parse_plain(data: bytes, backbone: BackboneIdentity | None = None) -> Adapter:
    """Read the adapter in `data` as `parse` does. Raises CheckpointError with the reason `gates` for a gated one."""
    adapter = parse(data, backbone)
    if isinstance(adapter, GatedAdapter):
        raise CheckpointError(
            "gates", f"a gated file, with an adapter for each {adapter.gates.config.field}, cannot be used here"
        )
    return adapter


def parse_trusted(data: bytes, digest: str) -> Adapter | GatedAdapter:
    """Read the adapter in `data` without any check.

    The caller guarantees that the SHA-256 of `data` is `digest` and that `parse` has accepted these bytes before.
    """
    body = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:body])
    metadata = AdapterMetadata.model_validate_json(header.pop("__metadata__")[METADATA_KEY])
    entries = {
        name: TensorEntry(entry["dtype"], entry["shape"], *(body + offset for offset in entry["data_offsets"]))
        for name, entry in header.items()
    }
    return _build(metadata, _copy_tensors(data, entries), digest)


def _build(metadata: AdapterMetadata, tensors: dict[str, Tensor], digest: str) -> Adapter | GatedAdapter:
    if metadata.gates is None:
        return Adapter(metadata, tensors, digest)
    digests, table, mean = (tensors.pop(name) for name in (GATE_KEYS, GATE_TABLE, GATE_MEAN))
    return GatedAdapter(metadata, tensors, Gates(metadata.gates, digests.numpy(), table, mean), digest)


def _copy_tensors(data: bytes, entries: Mapping[str, TensorEntry]) -> dict[str, Tensor]:
    """Copy the file once; the tensors are writable views of the copy."""
    memory = bytearray(data)
    tensors = {}
    for name, entry in entries.items():
        dtype = _DTYPES[entry.dtype]
        count = (entry.stop - entry.start) // dtype.itemsize
        tensors[name] = torch.frombuffer(memory, dtype=dtype, offset=entry.start, count=count).view(entry.shape)
    return tensors


def _parse_metadata(text: str) -> AdapterMetadata:
    _check_json(text)
    try:
        metadata = AdapterMetadata.model_validate_json(text)
    except ValidationError as error:
        raise _to_refusal(error) from None
    if canonical_json(metadata) != text:
        raise CheckpointError(
            "metadata_not_canonical",
            "the adakron metadata is not canonical JSON: sort the keys, remove spaces, and escape only the characters "
            "that JSON requires (in version 1 all non-ASCII characters)",
        )
    return metadata


def _check_json(text: str) -> None:
    """Check the JSON and its format version; its values are freed before pydantic parses the text again."""
    try:
        values = parse_json(text, max_depth=_MAX_DEPTH, naturals_only=False)
    except JsonFault as error:
        raise CheckpointError(cast(Reason, f"metadata_{error.fault}"), f"the adakron metadata: {error}") from None
    if not isinstance(values, dict):
        raise CheckpointError("metadata_json", "the adakron metadata is not a JSON object")
    version = values.get("format_version")
    if type(version) is not int or version not in FORMAT_VERSIONS:
        raise CheckpointError("format_version", f"format_version is {version!r:.20}; this release reads 1 to 3")


def _to_refusal(error: ValidationError) -> CheckpointError:
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
        raise CheckpointError("other_tokenizer", f"made with a tokenizer.json other than that of {here.name}")
    if (made_for.hidden_size, made_for.num_layers) != (here.hidden_size, here.num_layers):
        raise CheckpointError("other_backbone", f"hidden_size or num_layers are not those of {here.name}")
