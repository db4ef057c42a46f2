"""Client: a running server's HTTP API, as the command line and the trainer use it."""

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from service.errors import InvalidInput, ServiceError
from service.sdk.local import is_local
from service.settings.environment import key_of_the_command_line

KEY_VARIABLES = ("ADAKRON_KEY", "ADAKRON_ADMIN_KEY")


class ClientError(ServiceError):
    """The server refused, or could not be reached; the message is ready to be shown.

    `status` and `body` are those of the answer; None and empty where there is none, or none of an AdaKron server.
    """

    def __init__(self, message: str, status: int | None = None, body: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = body or {}

    @property
    def error_type(self) -> str:
        """As docs/http-api.md lists them; empty where there is no answer."""
        return str(self.body.get("error_type", ""))


def clean_key(key: str) -> str:
    """`key` without the newline that files and secrets end in. Raises ClientError if it cannot be a key."""
    key = key.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ClientError("this key has white space inside, or characters that are not printable ASCII: it is no key")
    return key


@dataclass(frozen=True)
class FoundKey:
    """The key for a server, or where it was looked for."""

    text: str | None = field(repr=False)
    place: str  # for people: where it comes from, or why there is none


def find_key(url: str, given: str | None) -> FoundKey:
    """The key that was `given` or a file holds, or else a local server's first key, from its data folder.

    Raises ClientError for what cannot be a key.
    """
    if given is not None and given.strip():
        names = [name for name in KEY_VARIABLES if os.environ.get(name) == given]
        return FoundKey(clean_key(given), names[0] if names else "--key")
    try:
        from_file = key_of_the_command_line(os.environ)
    except InvalidInput as error:
        raise ClientError(str(error)) from error
    if from_file is not None:
        variable, key = from_file
        return FoundKey(clean_key(key), f"the file that {variable} names")
    none = f"no --key, no {' and no '.join(KEY_VARIABLES)}"
    if not is_local(url):  # the file's key is for no other server
        return FoundKey(None, f"{none}; a key file is read for a server on this machine only")
    path = Path(os.environ.get("ADAKRON_DATA_DIR") or "data", "admin.key").absolute()
    try:
        return FoundKey(path.read_text("ascii").strip(), str(path))
    except ValueError:
        return FoundKey(None, f"{none}, and {path} holds no key")
    except OSError as error:
        return FoundKey(None, f"{none}, and {path} cannot be read: {error.strerror}")


class Client:
    """One server. `key` is one of its keys; predictions need none unless the server says so."""

    def __init__(self, url: str, key: str | None = None, *, timeout_s: float = 60.0) -> None:
        """Raises ClientError for a URL or a key that cannot be one."""
        key = None if key is None else clean_key(key)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._url = url.strip().rstrip("/")
        try:
            self._http = httpx.Client(
                base_url=self._url, headers=headers, timeout=timeout_s, trust_env=not is_local(self._url)
            )
        except httpx.InvalidURL as error:
            raise ClientError(f"{url!r} is not the URL of a server: {error}") from error

    def upload(
        self, task: str, data: bytes, *, activate: bool = True, allow_incompatible: bool = False
    ) -> dict[str, Any]:
        """Publish an adapter file as the next version of `task`.

        Where it would break the clients of the live version, it is published and not made live: ClientError with the
        error_type `incompatible`, whose body has version, digest and changes; unless it is allowed.
        """
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        return self._call(
            "POST",
            _admin(task, "/versions"),
            content=data,
            params={"activate": _flag(activate), "allow_incompatible": _flag(allow_incompatible)},
            headers={"Content-Type": "application/octet-stream", "Content-Digest": f"sha-256=:{digest}:"},
        )

    def predict(self, task: str, inputs: Any, **options: Any) -> dict[str, Any]:
        """Classify; `inputs` and `options` as in the body of POST /v1/{task}/predict."""
        return self._call("POST", f"/v1/{quote(task, safe='@')}/predict", json={"inputs": inputs, **options})

    def tasks(self) -> list[dict[str, Any]]:
        """What the server answers for at present."""
        tasks: list[dict[str, Any]] = self._call("GET", "/v1/tasks")["tasks"]
        return tasks

    def set_alias(self, task: str, alias: str, version: int, *, allow_incompatible: bool = False) -> dict[str, Any]:
        """Point an alias of `task` at `version`; `live` at one that breaks clients only where that is allowed."""
        params = {"allow_incompatible": _flag(allow_incompatible)}
        return self._call("PUT", _admin(task, f"/aliases/{quote(alias)}"), json={"version": version}, params=params)

    def delete_alias(self, task: str, alias: str) -> None:
        """Remove an alias of `task`; without `live` the task answers only by version."""
        self._request("DELETE", _admin(task, f"/aliases/{quote(alias)}"))

    def task(self, task: str) -> dict[str, Any]:
        """Every version of `task`, its aliases and where a rollback leads."""
        return self._call("GET", _admin(task))

    def version(self, task: str, version: int) -> dict[str, Any]:
        """One version of `task`."""
        return self._call("GET", _admin(task, f"/versions/{version}"))

    def download(self, task: str, version: int) -> tuple[bytes, str]:
        """The adapter file of a version and its SHA-256; ClientError where it did not arrive intact."""
        response = self._request("GET", _admin(task, f"/versions/{version}/adapter"))
        found, stated = hashlib.sha256(response.content).hexdigest(), response.headers.get("ETag", "").strip('"')
        if found != stated:
            raise ClientError(
                f"{task}@{version} did not arrive intact: its SHA-256 is {found}, and the server says {stated!r}"
            )
        return response.content, found

    def delete_version(self, task: str, version: int) -> None:
        """Remove a version that no alias points to."""
        self._request("DELETE", _admin(task, f"/versions/{version}"))

    def audit(self, *, limit: int, task: str | None = None) -> list[dict[str, Any]]:
        """The last `limit` changes, newest first; of one `task` where it is given."""
        params = {"limit": limit} | ({} if task is None else {"task": task})
        entries: list[dict[str, Any]] = self._call("GET", "/admin/v1/audit", params=params)["entries"]
        return entries

    def rollback(self, task: str, *, allow_incompatible: bool = False) -> dict[str, Any]:
        """Point `live` back at the version before; at one that breaks clients only where that is allowed."""
        params = {"allow_incompatible": _flag(allow_incompatible)}
        return self._call("POST", _admin(task, "/rollback"), params=params)

    def set_weight(self, task: str, weight: float) -> dict[str, Any]:
        """Give `task` another share of the engine."""
        return self._call("PUT", _admin(task, "/weight"), json={"weight": weight})

    def create_key(self, name: str, scopes: Sequence[str], tasks: Sequence[str]) -> dict[str, Any]:
        """Make a key; `key` of the answer is shown only this once."""
        body = {"name": name, "scopes": list(scopes), "tasks": list(tasks)}
        return self._call("POST", "/admin/v1/keys", json=body)

    def keys(self) -> list[dict[str, Any]]:
        """Every key that was made, revoked ones included."""
        keys: list[dict[str, Any]] = self._call("GET", "/admin/v1/keys")["keys"]
        return keys

    def revoke_key(self, key_id: str) -> dict[str, Any]:
        """Make a key good for nothing."""
        return self._call("DELETE", f"/admin/v1/keys/{quote(key_id, safe='')}")

    def _call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        return self._json(self._request(method, path, **arguments))

    def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """The answer; ClientError where it is an error, or there is none."""
        try:
            response = self._http.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise ClientError(f"no answer from {self._url}: {error or type(error).__name__}") from error
        if response.is_success:
            return response
        body = self._json(response)
        reason = f" ({body['reason']})" if body.get("reason") else ""
        message = f"{response.status_code}: {body.get('error', response.reason_phrase)}{reason}"
        raise ClientError(message, response.status_code, body)

    def _json(self, response: httpx.Response) -> dict[str, Any]:
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise ClientError(f"{self._url} answered {response.status_code} and no JSON: is it an AdaKron server?")
        return body

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _admin(task: str, rest: str = "") -> str:
    """A path of the admin API, whatever stands in the name."""
    return f"/admin/v1/tasks/{quote(task, safe='')}{rest}"


def _flag(value: bool) -> str:
    return "true" if value else "false"
