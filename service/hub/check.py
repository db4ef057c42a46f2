"""The checks of an upload, for a file that is not uploaded to a server."""

import torch

from adapters.adapter import Adapter
from adapters.backbone.source import load_backbone
from adapters.errors import CheckpointError
from service.errors import UploadRefused
from service.publishing.checker import examine
from service.settings import Settings


def check_file(data: bytes, settings: Settings) -> Adapter:
    """What a server with these settings would check, on the CPU; in this process, which has nobody else to serve.

    Raises UploadRefused with its reason, or BackboneError where there is no such backbone.
    """
    loaded = load_backbone(
        settings.backbone, dtype=torch.float32 if settings.dtype == "auto" else getattr(torch, settings.dtype)
    )
    loaded.backbone.pack()
    try:
        return examine(loaded, loaded.identity, data)
    except CheckpointError as error:
        raise UploadRefused(error.reason, str(error)) from error
