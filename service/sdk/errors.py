"""What a client raises.

AdaKronError
├── Unreachable       no answer: no connection, or it broke
├── TimedOut          no answer within the time of the call
└── ApiError          an answer with an error; has status, error_type and reason
    ├── Unauthorised      401
    ├── Forbidden         403
    ├── NotFound          404: task, version, route
    ├── InvalidRequest    any other 4xx: inputs that do not fit the task
    ├── Overloaded        429
    ├── Unavailable       503
    └── ServerError       any other 5xx
"""


class AdaKronError(Exception):
    """Base class of all of them. Where the server has answered, its log has more under `request_id`."""

    request_id: str | None = None


class Unreachable(AdaKronError):
    """No answer: no connection, or it broke."""


class TimedOut(AdaKronError):
    """No answer within the time of the call."""


class ApiError(AdaKronError):
    """An answer with an error: docs/http-api.md has every `error_type` and `reason`."""

    def __init__(
        self,
        message: str,
        status: int,
        error_type: str = "",
        reason: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.reason = reason
        self.retry_after_s = retry_after_s  # seconds to wait, where the server says so

    def __str__(self) -> str:
        text = f"{self.status}: {self.args[0]}" + (f" ({self.reason})" if self.reason else "")
        return text + (f" [request {self.request_id}]" if self.status >= 500 and self.request_id else "")


class Unauthorised(ApiError):
    """No key, or none that is known and good."""


class Forbidden(ApiError):
    """A good key, but not for this."""


class NotFound(ApiError):
    """No such task or version."""


class InvalidRequest(ApiError):
    """It cannot be answered as it stands."""


class Overloaded(ApiError):
    """Too much is queued."""


class Unavailable(ApiError):
    """The server ends, or an adapter cannot be loaded."""


class ServerError(ApiError):
    """The server failed."""


_BY_STATUS: dict[int, type[ApiError]] = {
    401: Unauthorised,
    403: Forbidden,
    404: NotFound,
    429: Overloaded,
    503: Unavailable,
}


def error_class(status: int) -> type[ApiError]:
    """What a status is raised as."""
    return _BY_STATUS.get(status, InvalidRequest if status < 500 else ServerError)
