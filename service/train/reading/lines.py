"""Lines of a text, whichever of LF, CR LF and CR ends them, even mixed."""

import re
from collections.abc import Iterator

END = r"(?:\r{0,2}\n|\r)"  # CR CR LF is what a file has that was converted twice
_LINE = re.compile(rf"[^\r\n]*{END}|[^\r\n]+\Z")
_END = re.compile(END)


def iterate_lines(text: str, start: int = 0) -> Iterator[str]:
    """Each line from position `start`, with its end."""
    return (match[0] for match in _LINE.finditer(text, start))


def count_line_ends(text: str, start: int = 0, stop: int | None = None) -> int:
    """How many lines end between two positions."""
    stop = len(text) if stop is None else stop
    if text.find("\r", start, stop) < 0:
        return text.count("\n", start, stop)
    return sum(1 for _ in _END.finditer(text, start, stop))
