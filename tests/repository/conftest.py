"""docker-compose.yml and the proxy's configuration."""

from typing import Any

import pytest

from tests.support.compose import read_yaml
from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """docker-compose.yml, parsed."""
    return dict(read_yaml("docker-compose.yml"))


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Its services by name."""
    return dict(compose["services"])


@pytest.fixture(scope="module")
def proxy() -> str:
    """The configuration of the proxy."""
    return (ROOT / "docker" / "proxy" / "haproxy.cfg").read_text()
