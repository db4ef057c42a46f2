"""Python and the libraries, against what this release asks for."""

import sys
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.metadata import metadata as package_metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from service.doctor.finding import Finding, failed, ok
from service.doctor.setup import Setup

PACKAGE = "adakron-serve"
SHOWN = ("torch", "tokenizers", "safetensors", "fastapi", "uvicorn", "sqlalchemy")


def python(setup: Setup) -> Finding:
    """Its version is one that this release supports."""
    here = ".".join(map(str, sys.version_info[:3]))
    needed = package_metadata(PACKAGE)["Requires-Python"]
    if here not in SpecifierSet(needed):
        return failed(f"Python {here}; {PACKAGE} needs {needed}", "install it with another Python")
    return ok(f"Python {here}, {PACKAGE} {version(PACKAGE)}")


def libraries(setup: Setup) -> Finding:
    """Every library is there, in a version that this release supports."""
    wrong: dict[str, str] = {}
    for line in requires(PACKAGE) or ():
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            wrong[f"{requirement.name}{requirement.specifier}"] = f"{requirement.name} is missing"
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong[f"{requirement.name}{requirement.specifier}"] = f"{requirement.name} is {installed}"
    if wrong:
        wanted = " ".join(f"'{name}'" for name in wrong)
        return failed("; ".join(wrong.values()), f"pip install {wanted}")
    return ok(", ".join(f"{name} {version(name)}" for name in SHOWN))
