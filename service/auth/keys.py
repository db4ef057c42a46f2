"""API keys: their form, the hash that is kept of each, and the first key of a server.

A key is `ak_ID_SECRET`. Its secret has 256 random bits: one round of SHA-256 protects it as well as a slow hash would.
"""

import hashlib
import hmac
import os
import re
import secrets
import time
from pathlib import Path

from service.errors import InvalidInput
from service.settings import Settings
from service.settings.model import check_first_key

ID_HEX_DIGITS = 12
_KEY = re.compile(rf"ak_([0-9a-f]{{{ID_HEX_DIGITS}}})_([A-Za-z0-9_-]{{43}})", re.ASCII)
_MAX_WRITE_S = 0.5  # another server that starts at the same time with the same data folder may be writing the file


def new_key() -> tuple[str, str, str]:
    """Generate a key: its public id, the SHA-256 of its secret, and the key itself, which is shown only once."""
    key_id, secret = secrets.token_hex(ID_HEX_DIGITS // 2), secrets.token_urlsafe(32)
    return key_id, hash_secret(secret), f"ak_{key_id}_{secret}"


def split_key(text: str) -> tuple[str, str] | None:
    """Split a key into id and secret; None if `text` is not a key."""
    match = _KEY.fullmatch(text)
    return None if match is None else (match[1], match[2])


def hash_secret(secret: str) -> str:
    """Return the SHA-256 of a secret, 64 hex digits: the only thing that is stored of it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def same_secret(secret: str, secret_sha256: str) -> bool:
    """Compare a secret with a stored hash, in constant time."""
    return hmac.compare_digest(hash_secret(secret), secret_sha256)


def admin_key_path(settings: Settings) -> Path:
    """Return the path of the generated first key."""
    return settings.data_dir / "admin.key"


def load_admin_key(settings: Settings) -> str:
    """Return the first key: the setting, else the file, which is created (mode 0600) if it does not exist.

    Raises InvalidInput if the file holds no key (an empty file must not open anything), or cannot be read or created.
    """
    if settings.admin_key is not None:
        return settings.admin_key.get_secret_value()
    path = admin_key_path(settings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _create(path)
        except FileExistsError:
            return _read(path)
    except OSError as error:
        raise InvalidInput(
            f"the admin key cannot be kept in {path}: {error.strerror}; let user {os.geteuid()} write there, or set "
            "ADAKRON_DATA_DIR or ADAKRON_ADMIN_KEY"
        ) from error


def _create(path: Path) -> str:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    key = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w") as file:
        file.write(key + "\n")
    return key


def _read(path: Path) -> str:
    deadline = time.monotonic() + _MAX_WRITE_S
    while True:
        try:
            return check_first_key(path.read_text().strip())
        except ValueError as error:  # also UnicodeDecodeError
            if time.monotonic() > deadline:
                raise InvalidInput(
                    f"{path} holds no key: {error}; delete the file, and the next start creates one"
                ) from None
        time.sleep(0.01)
