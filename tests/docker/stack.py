"""docker-compose.yml brought up under a project name, ports, images and volumes of its own."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from tests.support.paths import ROOT

IMAGE = "adakron-serve-test"
START_S = 300  # of servers that start beside each other on a small machine
_PORTS = ("PORT", "ADMIN_PORT", "PROXY_PORT", "PROXY_ADMIN_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")
_GIVEN = {  # whatever the caller's shell and .env say
    "IMAGE": IMAGE,
    "PROXY_IMAGE": "adakron-proxy-test",
    "MONITORING_ADDRESS": "127.0.0.1",
    "ADMIN_ADDRESS": "127.0.0.1",
    "SERVER_MEMORY": "",
    "SERVER_CPUS": "",
    "COMPOSE_FILE": "docker-compose.yml",
    "COMPOSE_PROFILES": "",
    "ADAKRON_ADMIN_KEY": "",
    "ADAKRON_BACKBONE": "",
    "ADAKRON_REQUIRE_KEY": "",
    "ADAKRON_LOG_FORMAT": "",
    "ADAKRON_WARMUP": "",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "",
    "ADAKRON_ENGINE_THREADS": "1",  # three servers share the machine with what tests them
    "POSTGRES_PASSWORD": "p@ss/w:rd %20",
}


def docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `docker`; raises AssertionError with what it printed where it fails."""
    return _run(["docker", *arguments], check=check)


def inspect(name: str) -> dict[str, Any]:
    """The engine's description of a container or an image."""
    (found,) = json.loads(docker("inspect", name).stdout)
    return dict(found)


def wait_until(condition: Callable[[], object], at_most_s: float, what: str) -> float:
    """Seconds until `condition` holds; an HTTP error counts as no."""
    started = time.monotonic()
    while True:
        try:
            if condition():
                return time.monotonic() - started
        except httpx.HTTPError:
            pass
        assert time.monotonic() - started < at_most_s, f"after {at_most_s} s: not {what}"
        time.sleep(0.05)


@dataclass(frozen=True)
class Stack:
    """Services of docker-compose.yml; `up` starts more of them, `down` ends all and deletes their volumes."""

    project: str = field(default_factory=lambda: f"adakron-test-{uuid4().hex[:8]}")
    ports: dict[str, int] = field(default_factory=lambda: dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True)))

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Run compose, of whichever version there is, with all profiles known; what it printed."""
        profiles = ["--profile", "postgres", "--profile", "grafana"]
        environment = os.environ | _GIVEN | {name: str(port) for name, port in self.ports.items()}
        command = [*compose_command(), "--project-name", self.project, *profiles, *arguments]
        return _run(command, environment, check=check).stdout

    def up(self, *services: str) -> None:
        """Build what they need, start them and what they depend on."""
        self.compose("build", *services)
        self.compose("up", "--detach", *services)

    def down(self) -> None:
        """Everything of this project, volumes included."""
        self.compose("down", "--volumes", "--remove-orphans", check=False)

    def logs(self) -> str:
        """The last lines of every container."""
        return self.compose("logs", "--no-color", "--tail=60", check=False)

    def container(self, service: str) -> str:
        """Id of its container."""
        return self.compose("ps", "--quiet", service).strip()

    def url(self, port: str) -> str:
        """The URL on this machine of that variable's port."""
        return f"http://127.0.0.1:{self.ports[port]}"

    def direct_url(self, service: str, port: int = 8000) -> str:
        """The service's own address in the project's network."""
        (network,) = inspect(self.container(service))["NetworkSettings"]["Networks"].values()
        return f"http://{network['IPAddress']}:{port}"

    def admin(self, service: str) -> dict[str, str]:
        """Headers with the key that the service generated."""
        key = self.compose("exec", "-T", service, "cat", "/data/admin.key").strip()
        return {"Authorization": f"Bearer {key}", "Content-Type": "application/octet-stream"}


def compose_command() -> list[str]:
    """`docker compose`, or docker-compose where that is what there is."""
    if docker("compose", "version", check=False).returncode == 0:
        return ["docker", "compose"]
    assert shutil.which("docker-compose"), "neither `docker compose` nor docker-compose is installed"
    return ["docker-compose"]


def is_ready(url: str) -> bool:
    """Whether a server, or the proxy, answers there."""
    return httpx.get(f"{url}/health/ready", timeout=5).status_code == 200


def _run(
    command: list[str], environment: dict[str, str] | None = None, *, check: bool
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
