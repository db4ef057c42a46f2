"""What can go wrong in the method, told so that a person can act on it.

AdapterError
├── CheckpointError     a file is not an adapter that can be used here (has a reason code)
├── BackboneError       a backbone cannot be found, read or used
└── EncodingError       a text cannot be turned into token ids
    └── TooLongError    ... because it is over the limit and may not be cut
"""


class AdapterError(Exception):
    """Base class of everything that `adapters` raises on purpose."""


class CheckpointError(AdapterError):
    """A file is refused. `reason` is a stable code (docs/adapter-format.md); the message is for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class BackboneError(AdapterError):
    """A backbone cannot be found, read or used."""


class EncodingError(AdapterError):
    """The text at `index` of a list of inputs cannot be turned into token ids."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


class TooLongError(EncodingError):
    """The text at `index` has more tokens than the task allows and truncation is "error"."""
