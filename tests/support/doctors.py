"""What the tests of `adakron doctor` share."""

from pathlib import Path
from typing import Any

from service.doctor.core import Setup
from service.settings import Settings


def setup_of(folder: Path, *, environment: dict[str, str] | None = None, **settings: Any) -> Setup:
    """A server in `folder`; proc and sys are below it, too, and say nothing."""
    url = settings.pop("url", None)
    given = {"data_dir": folder / "data", "backbone": str(folder / "none")} | settings
    return Setup(Settings(**given), (), environment or {}, url, root=folder)


def write(root: Path, path: str, text: str) -> None:
    """A file below `root`."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)
