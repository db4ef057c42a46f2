"""The admin API: versions, aliases, weights, keys and the audit. docs/http-api.md says which scope each call needs."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import httpx

from .admin_results import (
    ApiKey,
    AuditEntry,
    MovedAlias,
    NewApiKey,
    TaskVersions,
    UploadedVersion,
    Version,
    VersionActivity,
    parse_activity,
    parse_moved_alias,
    parse_task_versions,
    parse_version,
)
from .calls import Call, Input, json_call, path_segment
from .errors import Damaged
from .results import parse, parse_list

T = TypeVar("T")


class _Send(Protocol):
    def __call__(self, call: Call[T], /) -> T: ...


class Admin:
    """The admin calls of an AdaKronClient, which are its attribute `admin`. Changes are sent once, without retries."""

    def __init__(self, send: _Send) -> None:
        self._send = send

    def tasks(self) -> tuple[TaskVersions, ...]:
        """Return every task that the key is for, with its versions."""
        return self._json("GET", "/admin/v1/tasks", parse_list("tasks", parse_task_versions))

    def task(self, task: str) -> TaskVersions:
        """Return the versions and aliases of `task`."""
        return self._json("GET", _path(task), parse_task_versions)

    def version(self, task: str, version: int) -> Version:
        """Return one version of `task`."""
        return self._json("GET", _path(task, "versions", version), partial(parse_version, Version))

    def upload(
        self, task: str, data: bytes, *, activate: bool = True, allow_incompatible: bool = False
    ) -> UploadedVersion:
        """Publish an adapter file as the next version of `task`, and make it live if `activate`.

        Raises Incompatible if it would break the clients of the live version, unless `allow_incompatible`: the file
        is then published, but not live.
        """
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        return self._json(
            "POST",
            _path(task, "versions"),
            partial(parse_version, UploadedVersion),
            content=data,
            params={"activate": _flag(activate), "allow_incompatible": _flag(allow_incompatible)},
            headers={"Content-Type": "application/octet-stream", "Content-Digest": f"sha-256=:{digest}:"},
        )

    def download(self, task: str, version: int) -> bytes:
        """Return the adapter file of a version. Raises Damaged if its SHA-256 is not the one that the server states."""

        def checked(response: httpx.Response) -> bytes:
            found, stated = hashlib.sha256(response.content).hexdigest(), response.headers.get("ETag", "").strip('"')
            if found != stated:
                raise Damaged(f"{task}@{version} arrived damaged: its SHA-256 is {found}, the server states {stated!r}")
            return response.content

        return self._send(Call("GET", _path(task, "versions", version, "adapter"), checked, {}, True))

    def examples(self, task: str, version: int) -> tuple[Input, ...]:
        """Return example inputs out of the adapter file: texts of the validation data."""

        def inputs(example: Any) -> Input:
            return example["inputs"] if isinstance(example["inputs"], str) else tuple(example["inputs"])

        return self._json("GET", _path(task, "versions", version, "examples"), parse_list("examples", inputs))

    def activity(self, task: str) -> tuple[VersionActivity, ...]:
        """Return how often each version has answered each label since the server started."""
        return self._json("GET", _path(task, "activity"), parse_list("versions", parse_activity))

    def delete_version(self, task: str, version: int) -> None:
        """Delete a version that no alias points to."""
        self._delete(_path(task, "versions", version))

    def set_alias(self, task: str, alias: str, version: int, *, allow_incompatible: bool = False) -> MovedAlias:
        """Point an alias of `task` at `version`. Raises Incompatible as `upload` does, if the alias is `live`."""
        params = {"allow_incompatible": _flag(allow_incompatible)}
        path = _path(task, "aliases", alias)
        return self._json("PUT", path, parse_moved_alias, json={"version": version}, params=params)

    def delete_alias(self, task: str, alias: str) -> None:
        """Remove an alias of `task`; without `live` the task answers only by version."""
        self._delete(_path(task, "aliases", alias))

    def rollback(self, task: str, *, allow_incompatible: bool = False) -> MovedAlias:
        """Point `live` back at the version that was live before. Raises Incompatible as `upload` does."""
        params = {"allow_incompatible": _flag(allow_incompatible)}
        return self._json("POST", _path(task, "rollback"), parse_moved_alias, params=params)

    def set_weight(self, task: str, weight: float) -> TaskVersions:
        """Set the share of the engine that `task` gets when several tasks compete for it; 1 is the default."""
        return self._json("PUT", _path(task, "weight"), parse_task_versions, json={"weight": weight})

    def create_key(self, name: str, scopes: Sequence[str], tasks: Sequence[str] = ()) -> NewApiKey:
        """Make a key for `tasks`, or for every task if `tasks` is empty. Its `key` is shown only this once."""
        body = {"name": name, "scopes": list(scopes), "tasks": list(tasks)}
        return self._json("POST", "/admin/v1/keys", partial(parse, NewApiKey), json=body)

    def keys(self) -> tuple[ApiKey, ...]:
        """Return every key that was ever made, revoked ones included."""
        return self._json("GET", "/admin/v1/keys", parse_list("keys", partial(parse, ApiKey)))

    def revoke_key(self, key_id: str) -> ApiKey:
        """Revoke a key: the server refuses it from now on."""
        return self._json("DELETE", f"/admin/v1/keys/{path_segment(key_id)}", partial(parse, ApiKey))

    def audit(self, *, task: str | None = None, limit: int = 100, before: int | None = None) -> tuple[AuditEntry, ...]:
        """Return the last `limit` changes, newest first: those of `task` and older than the id `before`, if given."""
        given = {"task": task, "limit": limit, "before": before}
        params = {name: value for name, value in given.items() if value is not None}
        return self._json("GET", "/admin/v1/audit", parse_list("entries", partial(parse, AuditEntry)), params=params)

    def _json(self, method: str, path: str, read: Callable[[Any], T], **options: Any) -> T:
        return self._send(json_call(method, path, read, **options))

    def _delete(self, path: str) -> None:
        self._send(Call("DELETE", path, lambda _: None, {}, False))


def _path(task: str, *rest: str | int) -> str:
    return "/".join(["/admin/v1/tasks", *(path_segment(str(part)) for part in (task, *rest))])


def _flag(value: bool) -> str:
    return "true" if value else "false"
