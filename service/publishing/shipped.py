"""The adapters that ship with the project, and their publication into an empty registry."""

import asyncio
import logging
from importlib.resources import files

from service.errors import CheckerUnavailable, UploadRefused
from service.publishing.checker import Checker
from service.registry import Registry

logger = logging.getLogger(__name__)


def shipped_adapters() -> dict[str, bytes]:
    """Return the shipped adapter files by task name."""
    suffix = ".safetensors"
    entries = sorted((files("adapters") / "pretrained").iterdir(), key=lambda entry: entry.name)
    return {entry.name.removesuffix(suffix): entry.read_bytes() for entry in entries if entry.name.endswith(suffix)}


async def publish_shipped(registry: Registry, checker: Checker) -> list[str]:
    """Publish the shipped adapters that pass the checks, if nothing was ever published; return their tasks."""
    if await asyncio.to_thread(registry.revision) > 0:
        return []
    published = []
    for task, data in shipped_adapters().items():
        try:
            checked = await checker.check(data)
        except (UploadRefused, CheckerUnavailable) as error:
            logger.info("shipped adapter %s is not published: %s", task, error)
            continue
        await asyncio.to_thread(registry.publish, task, checked, actor="adakron", source="shipped")
        published.append(task)
    return published
