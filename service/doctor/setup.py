"""Setup: what the checks look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from service.settings import Problem, Settings

if TYPE_CHECKING:
    from adapters.backbone.source import BackboneSource


@dataclass(frozen=True)
class Setup:
    """Settings and machine of a server that runs, or will."""

    settings: Settings  # where one is wrong, its default is in its place
    problems: Sequence[Problem]  # what is wrong with the others
    environment: Mapping[str, str]
    url: str | None = None  # a server that must be running; else one may be
    root: Path = Path("/")  # where proc and sys are

    @cached_property
    def backbone(self) -> "BackboneSource":
        """The backbone, if it is on this machine. Raises BackboneError."""
        from adapters.backbone.source import find_backbone

        return find_backbone(self.settings.backbone, download=False)

    @cached_property
    def uses_cuda(self) -> bool:
        """Whether a server would compute on a GPU."""
        import torch

        return self.settings.device != "cpu" and torch.cuda.is_available()
