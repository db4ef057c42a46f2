"""Finding: what a check has to say."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "failed"]
_SEVERITY: dict[Status, int] = {"ok": 0, "warning": 1, "failed": 2}


@dataclass(frozen=True)
class Finding:
    """One line. `remedy` is what to do; empty where all is well."""

    status: Status
    message: str
    remedy: str = ""


def ok(message: str) -> Finding:
    """All is well."""
    return Finding("ok", message)


def warning(message: str, remedy: str) -> Finding:
    """It works, and less well than it could, or not for long."""
    return Finding("warning", message, remedy)


def failed(message: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding("failed", message, remedy)


def together(findings: Iterable[Finding]) -> Finding:
    """One finding for several of a check: as bad as the worst, which is told first."""
    ordered = sorted(findings, key=lambda finding: -_SEVERITY[finding.status])
    remedies = dict.fromkeys(finding.remedy for finding in ordered if finding.remedy)
    return Finding(ordered[0].status, "; ".join(finding.message for finding in ordered), "; ".join(remedies))
