"""The permissions of keys."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from service.auth.keys import new_key
from service.auth.permissions import actor_of, authenticate, authorise, permits, root_key
from service.core import ApiKey, Scope
from service.errors import Forbidden, Unauthorised

ROOT = root_key("the-first-key-of-all")
KEY_ID, SECRET_SHA256, TEXT = new_key()


def a_key(*scopes: Scope, tasks: tuple[str, ...] = (), revoked: bool = False) -> ApiKey:
    now = datetime.now(UTC)
    revoked_at = now if revoked else None
    return ApiKey(KEY_ID, "ci", frozenset(scopes), frozenset(tasks), SECRET_SHA256, now, revoked_at)


def test_the_first_key_opens_everything() -> None:
    """The root key is found by its own text, and is an administrator of every task."""
    key = authenticate("Bearer the-first-key-of-all", ROOT, {})
    assert key is ROOT
    for scope in ("admin", "upload", "predict"):
        authorise(key, scope, "any")  # type: ignore[arg-type]
        authorise(key, scope, None)  # type: ignore[arg-type]
    assert actor_of(key) == "admin"


def test_a_key_is_found_by_its_text() -> None:
    """`Bearer ak_ID_SECRET` is the key of that id, however the scheme is spelled."""
    key = a_key("upload")
    assert authenticate(f"Bearer {TEXT}", ROOT, {KEY_ID: key}) is key
    assert authenticate(f"bearer  {TEXT} ", ROOT, {KEY_ID: key}) is key
    assert actor_of(key) == f"ci ({KEY_ID})"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "key_missing"),
        ("", "key_missing"),
        ("Bearer", "key_missing"),
        ("Bearer ", "key_missing"),
        (TEXT, "key_missing"),
        (f"Basic {TEXT}", "key_missing"),
        ("Bearer wrong", "key_unknown"),
        ("Bearer schlüssel", "key_unknown"),
        (f"Bearer {TEXT[:-1]}{'A' if TEXT[-1] != 'A' else 'B'}", "key_unknown"),
        (f"Bearer {new_key()[2]}", "key_unknown"),
        (f"Bearer {SECRET_SHA256}", "key_unknown"),
        (f"Bearer ak_{KEY_ID}_{SECRET_SHA256[:43]}", "key_unknown"),
    ],
    ids=[
        "none",
        "empty",
        "no key",
        "a space for a key",
        "no scheme",
        "another scheme",
        "no key of ours",
        "not ASCII",
        "last character",
        "never kept",
        "the hash",
        "the hash as a secret",
    ],
)
def test_no_other_header_opens_anything(header: str | None, reason: str) -> None:
    """No key, another scheme, a key that differs by a character, or the hash itself: 401 with its reason."""
    with pytest.raises(Unauthorised) as refused:
        authenticate(header, ROOT, {KEY_ID: a_key("admin")})
    assert refused.value.reason == reason
    assert TEXT not in str(refused.value)


def test_a_revoked_key_is_told_so() -> None:
    """A client with the whole key learns that it was revoked; a client with only its id learns nothing."""
    keys = {KEY_ID: a_key("admin", revoked=True)}
    with pytest.raises(Unauthorised) as refused:
        authenticate(f"Bearer {TEXT}", ROOT, keys)
    assert refused.value.reason == "key_revoked"
    with pytest.raises(Unauthorised) as refused:
        authenticate(f"Bearer ak_{KEY_ID}_{'x' * 43}", ROOT, keys)
    assert refused.value.reason == "key_unknown"


@pytest.mark.parametrize("held", ["admin", "upload", "predict"])
@pytest.mark.parametrize("needed", ["admin", "upload", "predict"])
def test_scopes(held: Scope, needed: Scope) -> None:
    """Admin includes the others; upload and predict include only themselves."""
    if held in ("admin", needed):
        return authorise(a_key(held), needed, "sst2")
    with pytest.raises(Forbidden) as refused:
        authorise(a_key(held), needed, "sst2")
    assert refused.value.reason == "key_scope"
    return None


def test_tasks_restrict_a_key() -> None:
    """A key for sst2 is for nothing else, neither for what concerns every task, but it may list."""
    key = a_key("admin", tasks=("sst2",))
    authorise(key, "admin", "sst2")
    authorise(key, "upload", None)
    for scope, task in (("predict", "cola"), ("admin", "sst"), ("admin", None)):
        with pytest.raises(Forbidden) as refused:
            authorise(key, scope, task)  # type: ignore[arg-type]
        assert refused.value.reason == "key_task"
    assert [permits(key, task) for task in ("sst2", "cola")] == [True, False]
    assert permits(replace(key, tasks=frozenset()), "cola")
