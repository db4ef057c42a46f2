"""Who may do what: from an Authorization header to a key, and from a key to a permission. Knows no HTTP framework."""

from collections.abc import Mapping
from datetime import UTC, datetime

from service.auth.keys import hash_secret, same_secret, split_key
from service.core import ApiKey, Scope
from service.errors import Forbidden, Unauthorised

ROOT_ID = "root"


def root_key(secret: str) -> ApiKey:
    """The first key (ADAKRON_ADMIN_KEY, or the one in the data folder) as a key that is good for everything."""
    return ApiKey(
        id=ROOT_ID,
        name="admin",
        scopes=frozenset({"admin"}),
        tasks=frozenset(),
        secret_sha256=hash_secret(secret),
        created_at=datetime.fromtimestamp(0, UTC),
        revoked_at=None,
    )


def authenticate(authorization: str | None, root: ApiKey, keys: Mapping[str, ApiKey]) -> ApiKey:
    """The key that an `Authorization: Bearer KEY` header carries: `root`, or one of `keys` (by id).

    Raises Unauthorised: `key_missing`, `key_unknown`, `key_revoked`. Only who has the whole key learns the last.
    """
    scheme, _, text = (authorization or "").partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer" or not text:
        raise Unauthorised("key_missing", "this needs a key: Authorization: Bearer KEY")
    if same_secret(text, root.secret_sha256):
        return root
    parts = split_key(text)
    key = keys.get(parts[0]) if parts else None
    if parts is None or key is None or not same_secret(parts[1], key.secret_sha256):
        raise Unauthorised("key_unknown", "this key is not known here")
    if key.revoked_at is not None:
        raise Unauthorised("key_revoked", f"key {key.id} has been revoked")
    return key


def authorise(key: ApiKey, scope: Scope, task: str | None) -> None:
    """Return where `key` is good for `scope` and `task` (None: what concerns no task, or several).

    Raises Forbidden: `key_scope`, `key_task`. A key for certain tasks cannot do what only an administrator of all
    may; where it may list, it is for the caller to leave out what `permits` does not.
    """
    if not key.scopes & {scope, "admin"}:
        raise Forbidden("key_scope", f"key {key.id} lacks the scope {scope}")
    if task is None and scope == "admin" and key.tasks:
        raise Forbidden("key_task", f"key {key.id} is only for certain tasks")
    if task is not None and not permits(key, task):
        raise Forbidden("key_task", f"key {key.id} is not for this task")


def permits(key: ApiKey, task: str) -> bool:
    """Whether `key` is for `task`, whatever its scopes."""
    return not key.tasks or task in key.tasks


def actor_of(key: ApiKey) -> str:
    """How the audit names who holds `key`."""
    return key.name if key.id == ROOT_ID else f"{key.name} ({key.id})"
