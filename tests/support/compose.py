"""Read docker-compose.yml and the files beside it."""

from typing import Any

import yaml

from tests.support.paths import ROOT

SERVERS = {"adakron", "adakron-1", "adakron-2"}


def read_yaml(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def read_mounts(service: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the mounts of a service as (source, target) or (source, target, mode)."""
    return [tuple(volume.split(":")) for volume in service.get("volumes", [])]


def container_port(service: dict[str, Any]) -> str:
    return str(service["ports"][0]).rpartition(":")[2]


def admin_port(services: dict[str, dict[str, Any]]) -> int:
    """Return the one admin port of all servers."""
    (port,) = {services[name]["environment"]["ADAKRON_ADMIN_PORT"] for name in SERVERS}
    return int(port)
