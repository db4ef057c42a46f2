"""Keys of the API: how one is written, and how a secret is compared with the hash that is kept of it.

A key is `ak_ID_SECRET`. The secret is 256 random bits, so one round of SHA-256 is as good as a slow hash here:
there is nothing to guess from.
"""

import hashlib
import hmac
import re
import secrets

ID_HEX_DIGITS = 12
_KEY = re.compile(rf"ak_([0-9a-f]{{{ID_HEX_DIGITS}}})_([A-Za-z0-9_-]{{43}})", re.ASCII)


def new_key() -> tuple[str, str, str]:
    """A new key: its public id, the SHA-256 of its secret part, and the key itself, which is shown only once."""
    key_id, secret = secrets.token_hex(ID_HEX_DIGITS // 2), secrets.token_urlsafe(32)
    return key_id, hash_secret(secret), f"ak_{key_id}_{secret}"


def split_key(text: str) -> tuple[str, str] | None:
    """Id and secret part of a key; None where `text` has not the form of one."""
    match = _KEY.fullmatch(text)
    return None if match is None else (match[1], match[2])


def hash_secret(secret: str) -> str:
    """What is kept of a secret: its SHA-256, 64 hex digits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def same_secret(secret: str, secret_sha256: str) -> bool:
    """Whether `secret` is the one that the hash was made of, in a time that tells nothing of how near it came."""
    return hmac.compare_digest(hash_secret(secret), secret_sha256)
