"""The exceptions of the service. The domain raises them; only `service/api/http/errors.py` maps them to HTTP.

ServiceError
├── InvalidInput          the inputs do not fit the task
├── UnknownTask           no such task; names near matches
├── UnknownVersion        no such version or alias of a task
├── UnknownKey            no key of that id
├── MalformedJson         the body cannot be read as JSON
├── BodyTooLarge          the body is over its cap
├── BodyTimeout           the body did not arrive in time
├── BodyCut               the client left before its body had arrived
├── ClientLeft            the client left while its request waited
├── DeadlineExceeded      the deadline of a request has passed
├── CheckerUnavailable    the process that checks uploads does not start
├── Refusal               has a reason code
│   ├── UnsupportedMediaType  an upload that is not raw bytes
│   ├── UploadRefused         a file is not an adapter that can be served here
│   ├── Unauthorised          no key, or an unknown or revoked one
│   └── Forbidden             a key without this scope or task
├── AliasConflict         a version that an alias points to cannot be deleted; nothing to roll back to
├── Incompatible          a version that would break the clients of the live one
├── PreconditionFailed    an alias does not point where the caller believes
├── Overloaded            no permit: the queue is full (has a time to wait)
├── AdapterUnavailable    a published adapter cannot be loaded
├── RegistryUnavailable   the registry's database cannot be reached
├── StorageFull           the disk of the registry's database is full; nothing was written
├── ShuttingDown          the server is draining
├── EngineDied            the engine's process has ended
├── EngineHangs           the engine's process gives no sign of life
├── InferenceFailed       the forward of a batch failed
├── InternalError         a bug: the log has its traceback
├── MalformedHttp         the request is not valid HTTP/1.1; the connection ends, as after the next four
├── HeadTimeout           the head of a request did not arrive in time
├── TargetTooLong         the target in the request line is too long
├── HeadTooLarge          the head of a request, with its trailer, is too large
└── NotImplementedHere    CONNECT, or an unknown transfer coding
"""

from collections.abc import Mapping
from typing import Any

from adapters.config import is_label_text


def make_printable(line: str) -> str:
    """Return the line with control characters escaped: names may contain line breaks and terminal codes."""
    if line.isprintable():
        return line
    return "".join(char if is_label_text(char) else repr(char)[1:-1] for char in line)


class ServiceError(Exception):
    """Base class of everything that `service` raises on purpose. It can be sent to another process."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args), self.__dict__


def _rebuild(kind: type[ServiceError], args: tuple[Any, ...]) -> ServiceError:
    error = kind.__new__(kind)
    error.args = args
    return error


class Refusal(ServiceError):
    """Base class of errors with many causes: `reason` is a stable code (docs/http-api.md, docs/adapter-format.md)."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class InvalidInput(ServiceError):
    """The inputs of a request do not fit the task."""


class UnknownTask(ServiceError):
    """No task of that name. `near` are similar names; api/http/auth.py adds only those that the caller may know."""

    def __init__(self, task: str, near: tuple[str, ...] = ()) -> None:
        task = task[:64]  # one more than a name may have
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        super().__init__(f"no task {task!r}{hint} (GET /v1/tasks lists them)")
        self.task = task
        self.near = near


class UnknownVersion(ServiceError):
    """The task has no such version or alias."""


class UnknownKey(ServiceError):
    """No key of that id."""


class MalformedJson(ServiceError):
    """The body cannot be read as JSON: its grammar, its encoding, its depth, or a number in it."""


class BodyTooLarge(ServiceError):
    """The body is over its cap, by its declared length or by the bytes that arrived."""

    reason = "body_too_large"


class BodyTimeout(ServiceError):
    """The body did not arrive in time."""

    reason = "body_timeout"


class BodyCut(ServiceError):
    """The client left before its body had arrived; no answer is sent."""

    reason = "body_cut"


class ClientLeft(ServiceError):
    """The client left while its request waited; the request is not computed, and no answer is sent."""


class DeadlineExceeded(ServiceError):
    """The deadline of a request, by its client or by the settings, has passed."""


class UnsupportedMediaType(Refusal):
    """An upload that is not raw bytes."""


class UploadRefused(Refusal):
    """A file is refused; nothing is stored."""


class CheckerUnavailable(ServiceError):
    """The process that checks uploads does not start; the file is not at fault."""


class Unauthorised(Refusal):
    """No key, or an unknown or revoked one."""


class Forbidden(Refusal):
    """A valid key that lacks the scope or the task."""


class AliasConflict(ServiceError):
    """The current aliases do not allow the change."""


class Incompatible(ServiceError):
    """A published version does not become live without confirmation: it would break clients of the live version.

    `details` are further fields of the answer: version, digest and changes.
    """

    reason = "incompatible"

    def __init__(self, message: str, details: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.details = details


class PreconditionFailed(ServiceError):
    """Compare-and-set: the alias does not point where the caller believes."""


class Overloaded(ServiceError):
    """Too much is queued, or too many uploads are in progress. `reason` is a stable code (docs/http-api.md)."""

    def __init__(self, message: str, retry_after_s: float, reason: str) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.reason = reason


class AdapterUnavailable(ServiceError):
    """A published adapter cannot be loaded: its bytes are damaged, or there is no room."""


class RegistryUnavailable(ServiceError):
    """The registry's database cannot be reached."""


class StorageFull(ServiceError):
    """The disk of the registry's database is full; nothing was written."""


class ShuttingDown(ServiceError):
    """The server is draining and takes no new request."""


class EngineDied(ServiceError):
    """The engine process has ended: this server cannot compute any more, and ends as well."""


class EngineHangs(ServiceError):
    """The engine process runs, but gives no sign of life."""


class InferenceFailed(ServiceError):
    """The forward of a batch failed; only the requests of that batch fail."""


class InternalError(ServiceError):
    """A bug: the process where it occurred has logged the traceback, of which clients see nothing."""

    def __init__(self) -> None:
        super().__init__("internal error; the server's log has the details")


class MalformedHttp(ServiceError):
    """The request is not valid HTTP/1.1."""


class HeadTimeout(ServiceError):
    """The head of a request did not arrive in time."""


class TargetTooLong(ServiceError):
    """The target in the request line is too long."""


class HeadTooLarge(ServiceError):
    """The head of a request, its trailer or the framing of its chunks is too large."""


class NotImplementedHere(ServiceError):
    """CONNECT, or an unknown transfer coding."""
