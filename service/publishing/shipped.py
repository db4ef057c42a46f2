"""The adapters that ship with the project, and their publication into an empty registry."""

import logging
from importlib.resources import files

from adapters import checkpoint
from adapters.config import BackboneIdentity
from adapters.errors import CheckpointError
from service.registry import Registry

logger = logging.getLogger(__name__)


def shipped_adapters() -> dict[str, bytes]:
    """Adapter files by task name."""
    folder = files("adapters") / "pretrained"
    suffix = ".safetensors"
    return {
        entry.name.removesuffix(suffix): entry.read_bytes()
        for entry in sorted(folder.iterdir(), key=lambda item: item.name)
        if entry.name.endswith(suffix)
    }


def publish_shipped(registry: Registry, backbone: BackboneIdentity) -> list[str]:
    """Publish them if nothing was ever published here and they fit `backbone`; the tasks that are now live."""
    if registry.revision() > 0:
        return []
    published = []
    for task, data in shipped_adapters().items():
        try:
            checkpoint.parse(data, backbone)
        except CheckpointError as error:
            logger.info("shipped adapter %s is left out: %s", task, error)
            continue
        registry.publish(task, data, actor="adakron", source="shipped")
        published.append(task)
    return published
