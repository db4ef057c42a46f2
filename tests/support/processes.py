"""A server as a process of its own, as a user starts it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

COMMAND = (sys.executable, "-m", "service")  # the command line `adakron`
START_S = 120
RUNNING_ON = "Uvicorn running on "


@dataclass(frozen=True)
class Server:
    """A running server, its folder and its first key."""

    url: str
    admin_url: str  # the same, unless it has a port of its own
    folder: Path
    key: str
    process: subprocess.Popen[bytes]

    @property
    def headers(self) -> dict[str, str]:
        """Headers of a request with the first key."""
        return {"Authorization": f"Bearer {self.key}"}

    @property
    def log(self) -> str:
        """Return its output."""
        return (self.folder / "log").read_text()

    def adakron(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line against this server."""
        environment = os.environ | {"ADAKRON_URL": self.admin_url, "ADAKRON_KEY": self.key, "NO_COLOR": "1"}
        command = [*COMMAND, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@contextmanager
def server_process(folder: Path, *, command: Sequence[str] = COMMAND, **settings: str) -> Iterator[Server]:
    """A server on a free port with its data in `folder`; `settings` as `backbone="..."`. Ended by SIGTERM.

    `command` runs the command line `adakron`; it must not fork before it does.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ADAKRON_")}
    environment |= {"ADAKRON_DATA_DIR": str(folder), "ADAKRON_PORT": "0", "HF_HUB_OFFLINE": "1"}
    environment["ADAKRON_DRAIN_S"] = "0"
    environment |= {f"ADAKRON_{name.upper()}": value for name, value in settings.items()}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, "serve"], env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            urls = _wait_for_urls(folder / "log", process, 2 if "admin_port" in settings else 1)
            key = settings.get("admin_key") or (folder / "admin.key").read_text().strip()
            yield Server(urls[-1], urls[0], folder, key, process)
        finally:
            process.terminate()
            process.wait(60)


def _wait_for_urls(log: Path, process: subprocess.Popen[bytes], number: int) -> list[str]:
    """The addresses it listens on, the operators' before the public one."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        lines = log.read_text().splitlines()
        urls = [line.split(RUNNING_ON)[1].split()[0] for line in lines if RUNNING_ON in line]
        if len(urls) == number:
            assert httpx.get(f"{urls[-1]}/health/ready").status_code == 200
            return urls
        time.sleep(0.05)
    pytest.fail(f"the server did not start:\n{log.read_text()}")
