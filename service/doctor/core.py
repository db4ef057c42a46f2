"""Setup and Finding: the argument and the result of every check."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from service.settings import Problem, Settings

if TYPE_CHECKING:
    from adapters.backbone.files import BackboneSource

Status = Literal["ok", "warning", "failed"]
_SEVERITY: dict[Status, int] = {"ok": 0, "warning": 1, "failed": 2}


@dataclass(frozen=True)
class Setup:
    """The settings and the machine of a server, running or not."""

    settings: Settings  # invalid ones are replaced by their defaults
    problems: Sequence[Problem]  # the invalid settings
    environment: Mapping[str, str]
    url: str | None = None  # of a server that must be running; None: one may be running
    root: Path = Path("/")  # the folder of proc and sys

    @cached_property
    def backbone(self) -> "BackboneSource":
        """The backbone on this machine; nothing is downloaded. Raises BackboneError if it is missing or unusable."""
        from adapters.backbone.files import find_backbone

        return find_backbone(self.settings.backbone, download=False)

    @cached_property
    def uses_cuda(self) -> bool:
        """True if a server with these settings computes on a GPU."""
        import torch

        return self.settings.device != "cpu" and torch.cuda.is_available()


@dataclass(frozen=True)
class Finding:
    """One line of the report; `remedy` is empty if the status is ok."""

    status: Status
    message: str
    remedy: str = ""


def ok(message: str) -> Finding:
    """A finding without a fault."""
    return Finding("ok", message)


def warning(message: str, remedy: str) -> Finding:
    """A finding about something that works, but not as well or as long as it could."""
    return Finding("warning", message, remedy)


def failed(message: str, remedy: str) -> Finding:
    """A finding about something that does not work."""
    return Finding("failed", message, remedy)


def combine(findings: Iterable[Finding]) -> Finding:
    """Combine a check's findings into one with the status of the worst, worst first."""
    ordered = sorted(findings, key=lambda finding: -_SEVERITY[finding.status])
    remedies = dict.fromkeys(finding.remedy for finding in ordered if finding.remedy)
    return Finding(ordered[0].status, "; ".join(finding.message for finding in ordered), "; ".join(remedies))
