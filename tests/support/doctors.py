"""For tests of `adakron doctor`: a setup in a folder, and files of proc and sys."""

from pathlib import Path
from typing import Any

from service.doctor.core import Setup
from service.settings import Settings


def make_setup(folder: Path, *, environment: dict[str, str] | None = None, **settings: Any) -> Setup:
    """Describe a server in `folder`, which also contains proc and sys, empty at first."""
    url = settings.pop("url", None)
    given = {"data_dir": folder / "data", "backbone": str(folder / "none")} | settings
    return Setup(Settings(**given), (), environment or {}, url, root=folder)


def write(root: Path, path: str, text: str) -> None:
    """Write a file below `root`."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)
