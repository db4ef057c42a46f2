"""The table of checks, and a runner that isolates them: a check that raises or hangs hides no other."""

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pkgutil import resolve_name

from service.doctor.core import Finding, Setup, failed, warning
from service.errors import ServiceError

TIMEOUT_S = 60.0  # of one check
CHECKS: Mapping[str, str] = {  # name -> function; imported when it runs, since the import may fail
    "python": "service.doctor.installation:python",
    "libraries": "service.doctor.installation:libraries",
    "settings": "service.doctor.installation:settings",
    "backbone": "service.doctor.installation:backbone",
    "gpu": "service.doctor.gpu:gpu",
    "kernels": "service.doctor.hardware:kernels",
    "threads": "service.doctor.hardware:threads",
    "memory": "service.doctor.hardware:memory",
    "open-files": "service.doctor.hardware:open_files",
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
    """Run the checks in order; yield the name and the finding of each as soon as it is known."""
    for name, function in checks.items():
        yield name, _run(function, setup, timeout_s)


def _run(function: str, setup: Setup, timeout_s: float) -> Finding:
    findings: list[Finding] = []

    def run() -> None:
        try:
            findings.append(resolve_name(function)(setup))
        except ServiceError:  # the check `registry` says why
            findings.append(warning("not checked: the registry cannot be read", "fix the registry first"))
        except Exception as error:
            reason = (str(error).strip().splitlines() or [""])[0][:200]
            findings.append(
                failed(f"cannot be checked: {type(error).__name__}: {reason}", "fix the findings above first")
            )

    thread = threading.Thread(target=run, daemon=True, name="check")
    with _quiet():
        thread.start()
        thread.join(timeout_s)
    if findings:
        return findings[0]
    return failed(f"no answer within {timeout_s:g} s", "check the disk or the network that this check uses")


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress log lines."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        yield
    finally:
        logging.disable(before)
