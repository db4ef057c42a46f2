"""Setup: what the checks look at."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from service.settings import Settings

if TYPE_CHECKING:
    from adapters.source import BackboneSource


@dataclass(frozen=True)
class Setup:
    """Settings and machine of a server that runs, or will."""

    settings: Settings  # where one is wrong, its default is in its place
    wrong: Mapping[str, str]  # setting -> what is wrong with it
    environment: Mapping[str, str]
    url: str | None = None  # a server that must be running; else one may be
    root: Path = Path("/")  # where proc and sys are

    @cached_property
    def backbone(self) -> "BackboneSource":
        """The backbone, if it is on this machine. Raises BackboneError."""
        from adapters.source import find_backbone

        return find_backbone(self.settings.backbone, download=False)

    @cached_property
    def uses_cuda(self) -> bool:
        """Whether a server would compute on a GPU."""
        import torch

        return self.settings.device != "cpu" and torch.cuda.is_available()


def read_settings(given: Mapping[str, Any]) -> tuple[Settings, dict[str, str]]:
    """The settings of the environment and `given`, and what is wrong with those that are replaced by their defaults."""
    wrong: dict[str, str] = {}
    usable = dict(given)
    for _ in range(2):
        try:
            return Settings(**usable), wrong
        except ValidationError as error:
            for entry in error.errors(include_input=False, include_url=False):
                name = str(entry["loc"][0]) if entry["loc"] else "settings"
                wrong[name] = entry["msg"]
                if name in Settings.model_fields:
                    usable[name] = Settings.model_fields[name].get_default(call_default_factory=True)
    return Settings.model_construct(), wrong
