"""From an Authorization header to an API key, and from a key to what it permits. Knows no HTTP framework."""

from collections.abc import Mapping
from datetime import UTC, datetime

from service.auth.keys import hash_secret, same_secret, split_key
from service.core import ApiKey, Scope
from service.errors import Forbidden, Unauthorised

ROOT_ID = "root"


def root_key(secret: str) -> ApiKey:
    """Return the first key (ADAKRON_ADMIN_KEY, or the one in the data folder) as an ApiKey that permits everything."""
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
    """Return the key in an `Authorization: Bearer KEY` header: `root`, or one of `keys` (by id).

    Raises Unauthorised with the reason `key_missing`, `key_unknown` or `key_revoked`. Only a client that sends the
    whole key learns that it was revoked.
    """
    scheme, _, text = (authorization or "").partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer" or not text:
        raise Unauthorised("key_missing", "this request needs a key: send Authorization: Bearer KEY")
    if same_secret(text, root.secret_sha256):
        return root
    parts = split_key(text)
    key = keys.get(parts[0]) if parts else None
    if parts is None or key is None or not same_secret(parts[1], key.secret_sha256):
        raise Unauthorised("key_unknown", "this server does not know this key")
    if key.revoked_at is not None:
        raise Unauthorised("key_revoked", f"key {key.id} has been revoked")
    return key


def authorise(key: ApiKey, scope: Scope, task: str | None) -> None:
    """Check that `key` permits `scope` on `task`; None stands for no task, or several.

    Raises Forbidden with the reason `key_scope` or `key_task`. A key for certain tasks cannot administer the whole
    server. It may list tasks: the caller then leaves out those that `permits` denies.
    """
    if not key.scopes & {scope, "admin"}:
        raise Forbidden("key_scope", f"key {key.id} lacks the scope {scope}")
    if task is None and scope == "admin" and key.tasks:
        raise Forbidden("key_task", f"key {key.id} is only for certain tasks")
    if task is not None and not permits(key, task):
        raise Forbidden("key_task", f"key {key.id} is not for this task")


def permits(key: ApiKey, task: str) -> bool:
    """Return whether `key` covers `task`, whatever its scopes."""
    return not key.tasks or task in key.tasks


def actor_of(key: ApiKey) -> str:
    """Return the name under which the audit records the holder of `key`."""
    return key.name if key.id == ROOT_ID else f"{key.name} ({key.id})"
