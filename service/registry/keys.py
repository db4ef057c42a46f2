"""What a key may be, before it is made."""

from collections.abc import Collection
from datetime import UTC, datetime

from service.auth.keys import new_key
from service.core import SCOPES, ApiKey, find_name_fault
from service.errors import InvalidInput

MAX_NAME_CHARS = 63


def make_key(name: str, scopes: Collection[str], tasks: Collection[str]) -> tuple[ApiKey, str]:
    """A key that is in no registry yet, and the text of it, which nobody can tell again. Raises InvalidInput."""
    if not 1 <= len(name) <= MAX_NAME_CHARS or not name.isprintable() or name != name.strip():
        raise InvalidInput(f"a key's name has 1 to {MAX_NAME_CHARS} printable characters, and no space at either end")
    known = frozenset(scope for scope in SCOPES if scope in scopes)
    if not known or len(known) < len(set(scopes)):
        raise InvalidInput(f"a key has at least one of the scopes {', '.join(SCOPES)}, and no other")
    for task in tasks:
        if fault := find_name_fault("task", task):
            raise InvalidInput(fault)
    key_id, secret_sha256, text = new_key()
    return ApiKey(key_id, name, known, frozenset(tasks), secret_sha256, datetime.now(UTC), None), text
