"""Python, the libraries, the settings and the backbone."""

import sys
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.metadata import metadata as package_metadata

from huggingface_hub import is_offline_mode
from huggingface_hub.errors import LocalEntryNotFoundError
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from adapters.errors import BackboneError
from service.doctor.core import Finding, Setup, combine, failed, ok, warning
from service.settings import Settings
from service.settings.environment import Environment

PACKAGE = "adakron-serve"
SHOWN = ("torch", "tokenizers", "safetensors", "fastapi", "uvicorn", "sqlalchemy")


def python(setup: Setup) -> Finding:
    """Check that this release supports the Python version."""
    here = ".".join(map(str, sys.version_info[:3]))
    needed = package_metadata(PACKAGE)["Requires-Python"]
    if here not in SpecifierSet(needed):
        return failed(f"Python {here}; {PACKAGE} needs {needed}", "install it with a supported Python")
    return ok(f"Python {here}, {PACKAGE} {version(PACKAGE)}")


def libraries(setup: Setup) -> Finding:
    """Check that every library is installed in a supported version."""
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


def settings(setup: Setup) -> Finding:
    """Check that every setting is valid and no variable keeps a server from starting."""
    environment = Environment.read(setup.environment, Settings.model_fields)
    findings = [failed(str(problem), "docs/configuration.md describes every setting") for problem in setup.problems]
    if environment.links:
        findings.append(
            warning(
                f"{', '.join(environment.links)}: ignored, since Kubernetes sets them for a Service of that name",
                "set enableServiceLinks: false in the Pod",
            )
        )
    if findings:
        return combine(findings)
    changed = sorted(environment.variables[name] for name in environment.values)
    return ok(
        f"{len(changed)} of {len(Settings.model_fields)} are set" + (f": {', '.join(changed)}" if changed else "")
    )


def backbone(setup: Setup) -> Finding:
    """Find the backbone, without a download, and read its tokenizer; report its size and digests."""
    name = setup.settings.backbone
    try:
        source = setup.backbone
    except BackboneError as error:
        if not isinstance(error.__cause__, LocalEntryNotFoundError):
            return failed(str(error), "set ADAKRON_BACKBONE to a folder with a BERT, or to the name of one on the Hub")
        if is_offline_mode():
            return failed(
                f"{name} is not on this machine, and HF_HUB_OFFLINE forbids the download",
                f"unset HF_HUB_OFFLINE for the first start, or run `hf download {name}` before it",
            )
        return warning(
            f"{name} is not on this machine: the first start downloads it from the Hub",
            f"run `hf download {name}` to download it now",
        )
    try:
        source.encoder.encode(["a text"], max_length=8)
    except Exception as error:  # the tokenizers library raises no narrower class
        return failed(
            f"{source.folder / 'tokenizer.json'} cannot be used: {error}", "save or download the backbone again"
        )
    identity = source.identity
    return ok(
        f"{name} in {source.folder}: {identity.num_layers} layers of {identity.hidden_size}, "
        f"weights {identity.weights_sha256[:12]}, tokenizer {identity.tokenizer_sha256[:12]}"
    )
