"""Compare-and-set: where a caller expects an alias to point."""

from enum import Enum

from service.errors import PreconditionFailed
from service.registry.snapshot import TaskEntry


class Unset(Enum):
    """The type of UNSET."""

    UNSET = "unset"


UNSET = Unset.UNSET  # no `expected` given, where None means that the alias must not exist


def check_expected(entry: TaskEntry, alias: str, expected: int | Unset | None) -> None:
    """Raises PreconditionFailed where `alias` does not point to `expected`."""
    actual = entry.aliases.get(alias)
    if expected is not UNSET and expected != actual:
        place = "does not exist" if actual is None else f"points to version {actual}"
        raise PreconditionFailed(f"alias {alias!r} of task {entry.name!r} {place}")
