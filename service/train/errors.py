"""What can go wrong in a training, told in one line that says what to do.

ServiceError
└── TrainingError     the training cannot be done as asked
    ├── DataError     the data cannot be used; names the file and the line
    └── PublishError  the adapter is trained and stored, and could not be published
"""

from service.errors import ServiceError, make_printable


class TrainingError(ServiceError):
    """The training cannot be done as asked. The message is one line, whatever file or name it quotes."""

    def __init__(self, message: str) -> None:
        super().__init__(make_printable(message))


class DataError(TrainingError):
    """The data cannot be used; the message names the file, the line and a remedy."""


class PublishError(TrainingError):
    """The adapter file is complete, and could not be published."""
