"""Text of others in a Markdown page: shown as it is, whatever it holds."""

import re
from collections.abc import Iterable, Sequence

MAX_CHARS = 200
_PLAIN = re.compile(r"[^\W_]|[ ,=+()'/%?-]|(?<=[^\W_])_(?=[^\W_])|(?<!www)\.", re.IGNORECASE)  # begins no markup


def literal(value: object) -> str:
    """`value` so that Markdown and HTML show it as it is, in a sentence as in the cell of a table.

    What could begin markup, a link or a mention becomes a character reference, which never does.
    """
    text = str(value)
    text = text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1] + "…"
    text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return "".join(char if _PLAIN.match(text, place) else f"&#{ord(char)};" for place, char in enumerate(text))


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; the cells are `literal`, the heads are ours."""
    lines = [heads, ["---"] * len(heads), *([literal(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
