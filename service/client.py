"""Client: a running server's HTTP API, as the command line and the trainer use it."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from service.errors import ServiceError
from service.sdk.local import is_local


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


class Client:
    """One server. `key` is one of its keys; predictions need none unless the server says so."""

    def __init__(self, url: str, key: str | None = None, *, timeout_s: float = 60.0) -> None:
        key = None if key is None else clean_key(key)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._url = url.strip().rstrip("/")
        self._http = httpx.Client(
            base_url=self._url, headers=headers, timeout=timeout_s, trust_env=not is_local(self._url)
        )

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
            f"/admin/v1/tasks/{task}/versions",
            content=data,
            params={"activate": _flag(activate), "allow_incompatible": _flag(allow_incompatible)},
            headers={"Content-Type": "application/octet-stream", "Content-Digest": f"sha-256=:{digest}:"},
        )

    def predict(self, task: str, inputs: Any, **options: Any) -> dict[str, Any]:
        """Classify; `inputs` and `options` as in the body of POST /v1/{task}/predict."""
        return self._call("POST", f"/v1/{task}/predict", json={"inputs": inputs, **options})

    def tasks(self) -> list[dict[str, Any]]:
        """What the server answers for at present."""
        tasks: list[dict[str, Any]] = self._call("GET", "/v1/tasks")["tasks"]
        return tasks

    def set_alias(self, task: str, alias: str, version: int, *, allow_incompatible: bool = False) -> dict[str, Any]:
        """Point an alias of `task` at `version`; `live` at one that breaks clients only where that is allowed."""
        path = f"/admin/v1/tasks/{task}/aliases/{alias}"
        params = {"allow_incompatible": _flag(allow_incompatible)}
        return self._call("PUT", path, json={"version": version}, params=params)

    def rollback(self, task: str, *, allow_incompatible: bool = False) -> dict[str, Any]:
        """Point `live` back at the version before; at one that breaks clients only where that is allowed."""
        params = {"allow_incompatible": _flag(allow_incompatible)}
        return self._call("POST", f"/admin/v1/tasks/{task}/rollback", params=params)

    def set_weight(self, task: str, weight: float) -> dict[str, Any]:
        """Give `task` another share of the engine."""
        return self._call("PUT", f"/admin/v1/tasks/{task}/weight", json={"weight": weight})

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
        return self._call("DELETE", f"/admin/v1/keys/{key_id}")

    def _call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise ClientError(f"no answer from {self._url}: {error or type(error).__name__}") from error
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise ClientError(f"{self._url} answered {response.status_code} and no JSON: is it an AdaKron server?")
        if response.is_error:
            reason = f" ({body['reason']})" if body.get("reason") else ""
            message = f"{response.status_code}: {body.get('error', response.reason_phrase)}{reason}"
            raise ClientError(message, response.status_code, body)
        return body

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _flag(value: bool) -> str:
    return "true" if value else "false"
