"""The Makefile's installations, by a dry run."""

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.support.paths import ROOT

STAMPS = ("serving", "training", "testing")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what the Makefile looks at."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "hatch_build.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def commands(folder: Path, *arguments: str) -> str:
    """Return the commands that make would run, also if make itself runs these tests."""
    outer = ("PORT", "PYTHON", "WHEELS", "STEPS", "RESULTS", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    done = subprocess.run(
        ["make", "--dry-run", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def stamp(folder: Path, *names: str) -> None:
    """Create the stamps of these installations, in this order."""
    (folder / ".venv").mkdir(exist_ok=True)
    for number, name in enumerate(names):
        path = folder / ".venv" / name
        path.touch()
        os.utime(path, (2e9 + number, 2e9 + number))


def test_serving_installs_no_tools_of_tests_or_training(folder: Path) -> None:
    """`make serve` installs the project's own dependencies in their tested versions, and nothing of the extras."""
    wanted = commands(folder, "serve")
    installs = [line for line in wanted.splitlines() if "pip install" in line]
    assert installs
    assert all("--constraint constraints.txt" in line for line in installs)
    assert "train.txt" not in wanted
    assert "dev.txt" not in wanted
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert not any(name.split(">")[0] in wanted for name in extras["train"] + extras["dev"] if name != "torch")
    assert "--quiet" not in wanted  # pip says what it does
    assert wanted.splitlines()[-1] == ".venv/bin/adakron serve "
    assert commands(folder, "serve", "PORT=9000").splitlines()[-1] == ".venv/bin/adakron serve --port 9000"


def test_tests_install_the_rest(folder: Path) -> None:
    """Extras are installed on top of the packages for serving; `make training` installs no tools for tests."""
    stamp(folder, "serving")
    assert "--requirement .venv/train.txt" in commands(folder, "training")
    assert "dev.txt" not in commands(folder, "training")
    assert "--requirement .venv/dev.txt" in commands(folder, "test")


def test_one_step_after_the_other(folder: Path) -> None:
    """With `make -j`, too, no two calls of pip run at once: each step waits for the one before."""
    lines = commands(folder, "-j8", "test", "serve").splitlines()
    steps = [next(i for i, line in enumerate(lines) if f".venv/{name}" in line and "touch" in line) for name in STAMPS]
    assert steps == sorted(steps)
    for step, what in zip(steps, (" .\n", "/train.txt", "/dev.txt"), strict=True):
        assert what.strip() in "\n".join(lines[:step])


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt", "hatch_build.py"])
def test_a_change_installs_again(folder: Path, changed: str) -> None:
    """Without a change nothing is installed; a changed source repeats all requested steps."""
    stamp(folder, *STAMPS)
    assert "pip install" not in commands(folder, "test", "serve")
    os.utime(folder / changed, (3e9, 3e9))
    again = commands(folder, "test")
    assert all(f"touch .venv/{name}" in again for name in STAMPS)


def test_a_gpu_is_measured_in_an_environment_of_its_own(folder: Path) -> None:
    """`make gpu` installs from the folder of wheels on top of PYTHON, and passes on steps and the file of results."""
    install, measure = commands(
        folder, "gpu", "WHEELS=w", "PYTHON=py", "STEPS=engine swap", "RESULTS=r.json"
    ).splitlines()
    assert install == "py -m benchmarks.gpu.environment .venv-gpu --wheels 'w'"
    assert measure == ".venv-gpu/bin/python -m benchmarks.gpu --steps engine swap --results 'r.json'"
    collect = commands(folder, "gpu-wheels", "WHEELS=w", "PYTHON_VERSION=3.11", "WITHOUT=numpy", "PYTHON=py")
    assert collect.splitlines()[-1].rstrip() == "py -m benchmarks.gpu.wheels 'w' --python 3.11 --without numpy"
