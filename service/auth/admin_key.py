"""The first key: given by a setting, or generated at first start and kept in the data folder."""

import os
import secrets
import time
from pathlib import Path

from service.errors import InvalidInput
from service.settings import Settings
from service.settings.model import check_first_key

_BEING_WRITTEN_S = 0.5  # at most, by another server that starts at the same time with the same data folder


def admin_key_path(settings: Settings) -> Path:
    """Where a generated key is kept."""
    return settings.data_dir / "admin.key"


def load_admin_key(settings: Settings) -> str:
    """The first key; creates the file (mode 0600) where there is neither a setting nor a file.

    Raises InvalidInput if the file holds no key (an empty one must not open anything), or cannot be read or made.
    """
    if settings.admin_key is not None:
        return settings.admin_key.get_secret_value()
    path = admin_key_path(settings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _make(path)
        except FileExistsError:
            return _read(path)
    except OSError as error:
        raise InvalidInput(
            f"the admin key cannot be kept in {path}: {error.strerror}; let user {os.geteuid()} write there, or set "
            "ADAKRON_DATA_DIR or ADAKRON_ADMIN_KEY"
        ) from error


def _make(path: Path) -> str:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    key = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w") as file:
        file.write(key + "\n")
    return key


def _read(path: Path) -> str:
    deadline = time.monotonic() + _BEING_WRITTEN_S
    while True:
        try:
            return check_first_key(path.read_text().strip())
        except ValueError as error:  # UnicodeDecodeError, too
            if time.monotonic() > deadline:
                raise InvalidInput(f"{path} holds no key: {error}; delete it, and the next start makes one") from None
        time.sleep(0.01)
