"""The same bytes a second time: an adapter file that this process has checked before is read without the checks."""

import json

import torch

from adapters.adapter import Adapter, AdapterMetadata
from adapters.checkpoint.adapter_file import METADATA_KEY

_DTYPES = {"F32": torch.float32, "F16": torch.float16}


def parse_trusted(data: bytes, digest: str) -> Adapter:
    """The adapter in `data`, whose SHA-256 is `digest`, and which `checkpoint.parse` has accepted in this process.

    For other bytes nothing is promised: the caller answers for both conditions.
    """
    body = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:body])
    metadata = AdapterMetadata.model_validate_json(header.pop("__metadata__")[METADATA_KEY])
    memory = bytearray(data)  # of the tensors' own, and writable, as torch wants it
    tensors = {}
    for name, entry in header.items():
        dtype = _DTYPES[entry["dtype"]]
        start, stop = entry["data_offsets"]
        flat = torch.frombuffer(memory, dtype=dtype, offset=body + start, count=(stop - start) // dtype.itemsize)
        tensors[name] = flat.view(entry["shape"])
    return Adapter(metadata, tensors, digest)
