"""The checks of an upload: the file format, the backbone it was made for, and a dry run on that backbone."""

from functools import cache

import torch

from adapters import checkpoint
from adapters.adapter import Adapter
from adapters.backbone.quantized import load_packed
from adapters.backbone.source import LoadedBackbone
from adapters.config import BackboneIdentity
from adapters.errors import CheckpointError
from adapters.gates import GatedAdapter
from adapters.serving.verification import verify
from service.core import CheckedUpload
from service.errors import UploadRefused
from service.settings import Settings


@cache
def load_for_checks(name: str, dtype: str) -> LoadedBackbone:
    """Load a backbone on the CPU, in the type and layout that the engine serves with; torch then uses one thread."""
    torch.set_num_threads(1)
    return load_packed(name, dtype=dtype)


def check_upload(
    data: bytes, loaded: LoadedBackbone | None = None, identity: BackboneIdentity | None = None
) -> CheckedUpload:
    """Check an adapter file and describe it for the registry.

    With `loaded`, the adapter must be made for that backbone and pass a dry run on it; messages name the backbone as
    `identity` does, if given. Without it, only the checks of the file itself run. Raises UploadRefused with the reason
    code of the first check that fails.
    """
    try:
        adapter = checkpoint.parse(data, identity or (loaded.identity if loaded else None))
        if loaded is not None:
            verify(loaded, adapter)
    except CheckpointError as error:
        raise UploadRefused(error.reason, str(error)) from error
    metadata = adapter.metadata
    return CheckedUpload(
        data=data,
        digest=adapter.digest,
        metadata_json=checkpoint.canonical_json(metadata),
        num_parameters=metadata.num_parameters,
        num_outputs=metadata.task.num_outputs,
        gated_bytes=len(data) if metadata.gates else 0,
    )


def check_file(data: bytes, settings: Settings) -> Adapter | GatedAdapter:
    """Check an adapter file in this process, on the CPU, as a server with these settings checks an upload.

    Raises UploadRefused with the reason code, or BackboneError if the backbone cannot be loaded.
    """
    loaded = load_for_checks(settings.backbone, "float32" if settings.dtype == "auto" else settings.dtype)
    return checkpoint.parse_trusted(data, check_upload(data, loaded).digest)
