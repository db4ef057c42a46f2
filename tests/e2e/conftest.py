"""A server as a process of its own, as a user starts it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

START_S = 120


@dataclass(frozen=True)
class Server:
    """A running server, its folder and its admin key."""

    url: str
    folder: Path
    key: str
    process: subprocess.Popen[bytes]

    def adakron(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line against this server."""
        environment = os.environ | {"ADAKRON_URL": self.url, "ADAKRON_ADMIN_KEY": self.key, "NO_COLOR": "1"}
        command = [sys.executable, "-m", "service", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The service with its default settings, on a free port and an empty folder."""
    folder = tmp_path_factory.mktemp("server")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ADAKRON_")}
    environment |= {"ADAKRON_DATA_DIR": str(folder), "HF_HUB_OFFLINE": "1"}
    log = (folder / "log").open("wb")
    command = [sys.executable, "-m", "service", "serve", "--port", "0"]
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        url = _wait_for_url(folder / "log", process)
        yield Server(url, folder, (folder / "admin.key").read_text().strip(), process)
    finally:
        process.terminate()
        process.wait(60)
        log.close()


def _wait_for_url(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            if "Uvicorn running on " in line:
                url = line.split("Uvicorn running on ")[1].split()[0]
                assert httpx.get(f"{url}/health/ready").status_code == 200
                return url
        time.sleep(0.2)
    pytest.fail(f"the server did not start:\n{log.read_text()}")
