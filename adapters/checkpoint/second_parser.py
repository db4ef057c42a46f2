"""A second opinion: the safetensors library must see in a file exactly what our own check saw."""

import os
import sys
from collections.abc import Mapping
from tempfile import NamedTemporaryFile
from typing import IO, Any

import safetensors
import torch
from torch import Tensor

from adapters.checkpoint.container import Container, TensorEntry
from adapters.errors import CheckpointError

_DTYPES = {"F32": torch.float32, "F16": torch.float16}


def read_tensors(data: bytes, container: Container) -> dict[str, Tensor]:
    """The tensors as the library reads them, on the CPU, in memory of their own.

    Names, dtypes, shapes, bytes and metadata must be those of `container`. Raises CheckpointError.
    """
    try:
        metadata = _library_metadata(data, container.body)
        found: list[tuple[str, dict[str, Any]]] = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        raise CheckpointError("container_parsers_disagree", f"the safetensors library refuses it: {error}") from None
    tensors = dict(found)
    if metadata != container.metadata or len(found) != len(tensors) or tensors.keys() != container.entries.keys():
        raise CheckpointError(
            "container_parsers_disagree", "the safetensors library sees other names or metadata in it"
        )
    return {name: _tensor(data, name, entry, tensors[name]) for name, entry in container.entries.items()}


def _library_metadata(data: bytes, body: int) -> Mapping[str, str] | None:
    """The library shows metadata of files only: a sparse one with the same header and length will do."""
    with _scratch_file() as file:
        file.write(data[:body])
        file.truncate(len(data))
        file.flush()
        path = f"/proc/self/fd/{file.name}" if isinstance(file.name, int) else file.name
        with safetensors.safe_open(path, framework="np") as opened:
            metadata: Mapping[str, str] | None = opened.metadata()
            return metadata


def _scratch_file() -> IO[bytes]:
    if sys.platform == "linux":  # in memory: a full disk must not stop an adapter from being loaded
        return os.fdopen(os.memfd_create("header"), "wb")
    return NamedTemporaryFile()


def _tensor(data: bytes, name: str, ours: TensorEntry, theirs: Mapping[str, Any]) -> Tensor:
    same_type = (theirs["dtype"], tuple(theirs["shape"])) == (ours.dtype, ours.shape)
    if not same_type or theirs["data"] != data[ours.start : ours.stop]:
        raise CheckpointError("container_parsers_disagree", f"the safetensors library sees another tensor {name}")
    return torch.frombuffer(theirs["data"], dtype=_DTYPES[ours.dtype]).view(ours.shape)
