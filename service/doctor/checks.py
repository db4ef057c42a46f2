"""The table of checks, and their run: each by itself, so that one that fails or hangs hides no other."""

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pkgutil import resolve_name

from service.doctor.finding import Finding, failed, warning
from service.doctor.setup import Setup
from service.errors import ServiceError

TIMEOUT_S = 60.0  # of one check
CHECKS: Mapping[str, str] = {  # name -> function; imported when it runs, since that may be what fails
    "python": "service.doctor.packages:python",
    "libraries": "service.doctor.packages:libraries",
    "settings": "service.doctor.configuration:settings",
    "backbone": "service.doctor.backbone:backbone",
    "gpu": "service.doctor.gpu:gpu",
    "kernels": "service.doctor.processor:kernels",
    "threads": "service.doctor.processor:threads",
    "memory": "service.doctor.memory:memory",
    "open-files": "service.doctor.memory:open_files",
    "data-folder": "service.doctor.storage:data_folder",
    "disk": "service.doctor.storage:disk",
    "admin-key": "service.doctor.storage:admin_key",
    "registry": "service.doctor.registry:registry",
    "registry-write": "service.doctor.registry:registry_write",
    "sqlite": "service.doctor.registry:sqlite_file",
    "versions": "service.doctor.versions:versions",
    "ports": "service.doctor.network:ports",
    "server": "service.doctor.network:server",
    "clock": "service.doctor.network:clock",
}


def run_checks(
    setup: Setup, checks: Mapping[str, str] = CHECKS, timeout_s: float = TIMEOUT_S
) -> Iterator[tuple[str, Finding]]:
    """Name and finding of each, as soon as it is known."""
    for name, function in checks.items():
        yield name, _run(function, setup, timeout_s)


def _run(function: str, setup: Setup, timeout_s: float) -> Finding:
    findings: list[Finding] = []

    def run() -> None:
        try:
            findings.append(resolve_name(function)(setup))
        except ServiceError:  # `registry` itself says what is wrong with it
            findings.append(warning("not looked at: the registry cannot be read", "put that right first"))
        except Exception as error:
            said = (str(error).strip().splitlines() or [""])[0][:200]
            findings.append(
                failed(f"cannot be checked: {type(error).__name__}: {said}", "put the lines above right first")
            )

    thread = threading.Thread(target=run, daemon=True, name="check")
    with _quiet():
        thread.start()
        thread.join(timeout_s)
    if findings:
        return findings[0]
    return failed(f"no answer within {timeout_s:g} s", "look at the disk or the network that it is about")


@contextmanager
def _quiet() -> Iterator[None]:
    """No log lines between ours."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        yield
    finally:
        logging.disable(before)
