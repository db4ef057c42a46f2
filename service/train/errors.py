"""What can go wrong in a training, told in one line that says what to do.

ServiceError
└── TrainingError     the training cannot be done as asked
    ├── DataError     the data cannot be used; names the file and the line
    └── PublishError  the adapter is trained and stored, and could not be published
"""

from adapters.config import is_label_text
from service.errors import ServiceError


def make_printable(line: str) -> str:
    """The line with control characters escaped: a file may hold line breaks, and codes that a terminal obeys."""
    if line.isprintable():
        return line
    return "".join(char if is_label_text(char) else repr(char)[1:-1] for char in line)


class TrainingError(ServiceError):
    """The training cannot be done as asked. The message is one line, whatever file or name it quotes."""

    def __init__(self, message: str) -> None:
        super().__init__(make_printable(message))


class DataError(TrainingError):
    """The data cannot be used; the message names the file, the line and a remedy."""


class PublishError(TrainingError):
    """The adapter file is complete, and could not be published."""
