"""Errors of a training, with one-line messages that name the remedy, and quotations of file contents in them.

ServiceError
└── TrainingError     the training cannot be done as asked
    ├── DataError     the data cannot be used; names the file and the line
    └── PublishError  the adapter is complete, but could not be published
"""

from collections.abc import Iterable

from service.errors import ServiceError, make_printable


class TrainingError(ServiceError):
    """The training cannot be done as asked. The message has one line, whatever names it quotes."""

    def __init__(self, message: str) -> None:
        super().__init__(make_printable(message))


class DataError(TrainingError):
    """The data cannot be used; the message names the file, the line and a remedy."""


class PublishError(TrainingError):
    """The adapter file is complete, but could not be published."""


MAX_CHARS = 40  # of a value in a message
MAX_NAMES = 12


def shorten(value: object) -> str:
    """The start of a value in quotes, its control characters escaped."""
    text = str(value)
    return repr(text[:MAX_CHARS]) + ("..." if len(text) > MAX_CHARS else "")


def list_names(names: Iterable[str]) -> str:
    """The first names of columns, in quotes only if they need them."""
    found = list(names)
    shown = [name if name.isprintable() and len(name) <= MAX_CHARS else shorten(name) for name in found[:MAX_NAMES]]
    more = f" and {len(found) - MAX_NAMES} more" if len(found) > MAX_NAMES else ""
    return (", ".join(shown) or "none") + more
