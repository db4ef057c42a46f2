"""Files that commands write: never over another unasked, and whole or not at all."""

import os
from pathlib import Path

from service.commands.shared import fail


def require_free(path: Path, force: bool) -> None:
    """End with one line on stderr where `path` exists and may not be replaced, or has no folder."""
    if path.exists() and not force:
        fail(f"{path} exists: --force replaces it, --output names another")
    if not path.parent.is_dir():
        fail(f"{path.parent} is no folder")


def write_whole(path: Path, data: bytes) -> None:
    """Whole or not at all; where that fails, one line on stderr and the end."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}")
    finally:
        part.unlink(missing_ok=True)
