"""What can go wrong in the service. The domain raises these; `api/errors.py` alone maps them to HTTP.

ServiceError
├── InvalidInput          the request cannot be answered as it stands
├── UnknownTask           no such task; names near matches
├── UnknownVersion        no such version or alias of a task
├── UnknownKey            no key of that id
├── MalformedJson         the body is no JSON that can be read
├── BodyTooLarge          the body is over its cap
├── BodyTimeout           the body did not arrive in time
├── BodyCut               the client left before its body had come
├── ClientLeft            the client left while its request waited
├── DeadlineExceeded      the time for a request is over
├── CheckerUnavailable    the process that checks uploads does not start
├── Refusal               has a reason code
│   ├── UnsupportedMediaType  an upload that is not raw bytes
│   ├── UploadRefused         a file is not an adapter that can be served here
│   ├── Unauthorised          no key, or none that is known and good
│   └── Forbidden             a good key, but not for this
├── AliasConflict         a version that an alias points to cannot be deleted; nothing to roll back to
├── Incompatible          a version that would break the clients of the live one
├── PreconditionFailed    an alias does not point where the caller believes
├── Overloaded            no permit: too much is queued (has a time to wait)
├── AdapterUnavailable    a published adapter cannot be loaded
├── RegistryUnavailable   the registry's database cannot be reached
├── StorageFull           the disk of the registry's database is full; nothing was written
├── ShuttingDown          the server is draining
├── EngineDied            the engine's process has ended
├── InferenceFailed       the forward of a batch failed
├── MalformedHttp         what came is no HTTP/1.1; the connection ends, as after the next four
├── HeadTimeout           the head of a request did not come in time
├── TargetTooLong         the target in the request line is too long
├── HeadTooLarge          the head of a request, with its trailer, is too large
└── NotImplementedHere    CONNECT, or a transfer coding that this server does not know
"""

from collections.abc import Mapping
from typing import Any

from adapters.config import is_label_text


def make_printable(line: str) -> str:
    """The line with control characters escaped: a name may hold line breaks, and codes that a terminal obeys."""
    if line.isprintable():
        return line
    return "".join(char if is_label_text(char) else repr(char)[1:-1] for char in line)


class ServiceError(Exception):
    """Base class of everything that `service` raises on purpose."""


class Refusal(ServiceError):
    """Base class of what has many causes: `reason` is a stable code (docs/http-api.md, docs/adapter-format.md)."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class InvalidInput(ServiceError):
    """The request cannot be answered as it stands."""


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
    """The body is no JSON that can be read: its grammar, its encoding, its depth, or a number in it."""


class BodyTooLarge(ServiceError):
    """The body is over its cap, by its declared length or by what came."""

    reason = "body_too_large"


class BodyTimeout(ServiceError):
    """The body did not arrive in time."""

    reason = "body_timeout"


class BodyCut(ServiceError):
    """The client left before its body had come; nobody reads the answer."""

    reason = "body_cut"


class ClientLeft(ServiceError):
    """The client left while its request waited; it is not computed, and nobody reads the answer."""


class DeadlineExceeded(ServiceError):
    """The time that the client or the settings give a request is over."""


class UnsupportedMediaType(Refusal):
    """An upload that is not raw bytes."""


class UploadRefused(Refusal):
    """A file is refused; nothing is stored."""


class CheckerUnavailable(ServiceError):
    """The process that checks uploads does not start; no fault of the file."""


class Unauthorised(Refusal):
    """No key, or none that is known and good."""


class Forbidden(Refusal):
    """A good key, but not for this."""


class AliasConflict(ServiceError):
    """The aliases as they stand do not allow this."""


class Incompatible(ServiceError):
    """A version is published and cannot become live unasked: it would break clients of the one that is.

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
    """The engine's process has ended: this server cannot compute any more, and ends too."""


class InferenceFailed(ServiceError):
    """The forward of a batch failed; only its own requests are told so."""


class MalformedHttp(ServiceError):
    """What came is no HTTP/1.1."""


class HeadTimeout(ServiceError):
    """The head of a request did not come in time."""


class TargetTooLong(ServiceError):
    """The target in the request line is too long."""


class HeadTooLarge(ServiceError):
    """The head of a request, its trailer or the framing of its chunks is too large."""


class NotImplementedHere(ServiceError):
    """CONNECT, or a transfer coding that this server does not know."""
