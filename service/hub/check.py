"""The checks of an upload, for a file that is not uploaded to a server."""

import torch

from adapters import checkpoint
from adapters.adapter import Adapter
from adapters.backbone.source import load_backbone
from service.publishing.checks import check_upload
from service.settings import Settings


def check_file(data: bytes, settings: Settings) -> Adapter:
    """What a server with these settings would check, on the CPU; in this process, which has nobody else to serve.

    Raises UploadRefused with its reason, or BackboneError where there is no such backbone.
    """
    loaded = load_backbone(
        settings.backbone, dtype=torch.float32 if settings.dtype == "auto" else getattr(torch, settings.dtype)
    )
    loaded.backbone.pack()
    return checkpoint.parse_trusted(data, check_upload(data, loaded).digest)
