"""Publish versions in a registry and read which one is live."""

from typing import Any

from service.publishing.checks import check_upload
from service.registry import Registry
from tests.support.factories import make_adapter_bytes


def publish(
    registry: Registry, task: str = "sst2", *, activate: bool = True, allow_incompatible: bool = False, **options: Any
) -> int:
    """Publish an adapter file with these options and return the version's number."""
    checked = check_upload(make_adapter_bytes(**options))
    published = registry.publish(task, checked, activate=activate, allow_incompatible=allow_incompatible)
    return published.version.version


def live(registry: Registry, task: str = "sst2") -> int:
    """Return the number of the live version."""
    return registry.snapshot().resolve(task).version
