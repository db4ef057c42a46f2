"""Contents of a file in a message: short, and without characters that a terminal obeys."""

from collections.abc import Iterable

MAX_CHARS = 40  # of one value
MAX_NAMES = 12


def shorten(value: object) -> str:
    """The start of a value in quotes, its control characters escaped."""
    text = str(value)
    return repr(text[:MAX_CHARS]) + ("..." if len(text) > MAX_CHARS else "")


def list_names(names: Iterable[str]) -> str:
    """The first names of columns, in quotes only where they need them."""
    found = list(names)
    shown = [name if name.isprintable() and len(name) <= MAX_CHARS else shorten(name) for name in found[:MAX_NAMES]]
    more = f" and {len(found) - MAX_NAMES} more" if len(found) > MAX_NAMES else ""
    return (", ".join(shown) or "none") + more
