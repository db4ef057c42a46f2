"""An environment of its own for each peer, from the versions in its requirements.txt."""

import os
import subprocess
import sys
import venv
from pathlib import Path

PEERS = Path(__file__).parent
ENVIRONMENTS = PEERS / ".environments"
TORCH = "torch==2.13.0"  # first and alone: nothing that follows may bring another build of it


def python_of(name: str) -> str:
    """The interpreter of the peer's environment."""
    return str(ENVIRONMENTS / name / "bin" / "python")


def install(name: str) -> None:
    """Make the environment of the peer `name` if it is missing or older than its requirements.

    Raises subprocess.CalledProcessError if pip fails.
    """
    requirements = PEERS / name / "requirements.txt"
    done = ENVIRONMENTS / name / "installed"
    if done.is_file() and done.read_text() == requirements.read_text():
        return
    print(f"{name}: installing into {os.path.relpath(ENVIRONMENTS / name)}", file=sys.stderr)
    venv.create(ENVIRONMENTS / name, with_pip=True, clear=True)
    pip = [python_of(name), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, TORCH], check=True)
    subprocess.run([*pip, "--requirement", str(requirements)], check=True)
    done.write_text(requirements.read_text())


def versions(name: str) -> dict[str, str]:
    """Return the version of every package in the peer's environment."""
    command = [python_of(name), "-m", "pip", "list", "--disable-pip-version-check", "--format=freeze"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return dict(line.split("==", 1) for line in lines if "==" in line)
