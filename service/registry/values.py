"""Values that Registry's methods take and return, and the checks of what they take."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import NamedTuple

from service.auth.keys import new_key
from service.core import SCOPES, ApiKey, PublishedVersion, find_name_fault
from service.errors import InvalidInput, PreconditionFailed
from service.registry.compatibility import Changes
from service.registry.snapshot import TaskEntry

MAX_KEY_NAME_CHARS = 63


class Unset(Enum):
    """The type of UNSET."""

    UNSET = "unset"


UNSET = Unset.UNSET  # no `expected` given; None means that the alias must not exist


class Published(NamedTuple):
    """The result of `Registry.publish`."""

    version: PublishedVersion
    created: bool  # False: a version with exactly these bytes existed before
    changes: Changes | None  # against the version that was live before; None if nothing changes for clients


class Moved(NamedTuple):
    """The result of moving an alias."""

    version: PublishedVersion  # which the alias points to now
    changes: Changes | None  # against the version that was live before; None if nothing changes for clients


@dataclass(frozen=True)
class AuditRow:
    """One change in the audit log."""

    id: int
    at: datetime  # UTC
    actor: str
    action: str  # publish, set_alias, delete_alias, rollback, delete_version, set_weight, quarantine,
    # repair_bytes, repair_version, create_key, revoke_key, restore
    task: str | None  # None for create_key, revoke_key and restore
    version: int | None
    alias: str | None
    detail: str
    source: str


def check_expected(entry: TaskEntry, alias: str, expected: int | Unset | None) -> None:
    """Raise PreconditionFailed unless `alias` points to version `expected` (None: does not exist; UNSET: any)."""
    actual = entry.aliases.get(alias)
    if expected is not UNSET and expected != actual:
        place = "does not exist" if actual is None else f"points to version {actual}"
        raise PreconditionFailed(f"alias {alias!r} of task {entry.name!r} {place}")


def make_key(name: str, scopes: Collection[str], tasks: Collection[str]) -> tuple[ApiKey, str]:
    """Create a key, not stored yet, and its secret text, which cannot be derived again. Raises InvalidInput."""
    if not 1 <= len(name) <= MAX_KEY_NAME_CHARS or not name.isprintable() or name != name.strip():
        raise InvalidInput(
            f"a key's name has 1 to {MAX_KEY_NAME_CHARS} printable characters, and no space at either end"
        )
    known = frozenset(scope for scope in SCOPES if scope in scopes)
    if not known or len(known) < len(set(scopes)):
        raise InvalidInput(f"a key has at least one of the scopes {', '.join(SCOPES)}, and no other")
    for task in tasks:
        if fault := find_name_fault("task", task):
            raise InvalidInput(fault)
    key_id, secret_sha256, text = new_key()
    return ApiKey(key_id, name, known, frozenset(tasks), secret_sha256, datetime.now(UTC), None), text
