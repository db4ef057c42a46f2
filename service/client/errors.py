"""The exceptions of the clients.

AdaKronError
├── InvalidArgument       the URL, the key, a name or the inputs are malformed; nothing was sent
├── Unreachable           no answer: the connection failed or broke
├── TimedOut              no answer within the time of the call
├── Damaged               a downloaded file lacks the SHA-256 that the server states
└── ApiError              the server answered with an error: status, error_type, reason, body
    ├── Unauthorised          401
    ├── Forbidden             403
    ├── NotFound              404: task, version, alias, key or route
    ├── InvalidRequest        any other 4xx: inputs that do not fit the task, an alias in use
    │   └── Incompatible          409: the version would break the clients of the live version
    ├── Overloaded            429
    ├── Unavailable           503
    └── ServerError           any other 5xx
"""

from collections.abc import Mapping
from typing import Any


class AdaKronError(Exception):
    """Base class of every exception that a client raises."""

    request_id: str | None = None  # X-Request-Id of the answer, under which the server logged the request


class InvalidArgument(AdaKronError, ValueError):
    """The URL, the key, a name or the inputs are malformed; the client sent nothing."""


class Unreachable(AdaKronError):
    """No answer: the connection failed or broke."""


class TimedOut(AdaKronError):
    """No answer within the time of the call."""


class Damaged(AdaKronError):
    """A downloaded file does not have the SHA-256 that the server states."""


class ApiError(AdaKronError):
    """The server answered with an error; docs/http-api.md lists every `error_type` and `reason`."""

    def __init__(
        self, message: str, status: int, body: Mapping[str, Any] | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = body or {}  # the JSON of the answer; empty if the answer was not JSON
        self.error_type = str(self.body.get("error_type", ""))
        self.reason: str | None = self.body.get("reason")
        self.retry_after_s = retry_after_s  # the Retry-After of the answer

    def __str__(self) -> str:
        text = f"{self.status}: {self.args[0]}" + (f" ({self.reason})" if self.reason else "")
        return text + (f" [request {self.request_id}]" if self.status >= 500 and self.request_id else "")


class Unauthorised(ApiError):
    """The request carried no key, or a key that the server does not accept."""


class Forbidden(ApiError):
    """The key lacks the scope, or is not for this task."""


class NotFound(ApiError):
    """There is no such task, version, alias, key or route."""


class InvalidRequest(ApiError):
    """The server cannot carry out the request as it stands."""


class Incompatible(InvalidRequest):
    """The version would break the clients of the live version; `body` has `version`, `digest` and `changes`.

    An upload that raises this is published nevertheless, but not live.
    """


class Overloaded(ApiError):
    """Too many requests are queued; `retry_after_s` says how long to wait."""


class Unavailable(ApiError):
    """The server is shutting down, or cannot reach its registry or load the adapter."""


class ServerError(ApiError):
    """The server failed."""


_BY_STATUS: dict[int, type[ApiError]] = {
    401: Unauthorised,
    403: Forbidden,
    404: NotFound,
    429: Overloaded,
    503: Unavailable,
}


def api_error(status: int, body: Mapping[str, Any], message: str = "", retry_after_s: float | None = None) -> ApiError:
    """Build the error of an answer; `message` serves if the body has none."""
    kind = _BY_STATUS.get(status, InvalidRequest if status < 500 else ServerError)
    if body.get("error_type") == "incompatible":
        kind = Incompatible
    return kind(str(body.get("error") or message), status, body, retry_after_s)
