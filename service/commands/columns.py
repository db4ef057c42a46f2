"""Lists on a terminal or in a pipe: one line for each item, and nothing that steers a terminal."""

import shutil
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

from service.errors import make_printable

PIPE_WIDTH = 160  # of a line where no terminal says how wide it is
_GAP = "  "


def print_columns(heads: Sequence[str], rows: Sequence[Sequence[str]], least: int = 20) -> None:
    """One line for the heads and each row; only the last column is cut, with an ellipsis, to the terminal's width.

    It keeps `least` cells however narrow the terminal is.
    """
    table = [heads, *([make_printable(cell) for cell in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)][:-1]
    taken = sum(widths) + len(_GAP) * len(widths)
    room = max(shutil.get_terminal_size((PIPE_WIDTH, 24)).columns - taken, least)
    for *cells, last in table:
        padded = [set_cell_size(cell, width) for cell, width in zip(cells, widths, strict=True)]
        print(_GAP.join([*padded, cut(last, room)]).rstrip())


def minute(value: str) -> str:
    """A time of the API, to the minute."""
    return f"{value[:16]}Z"


def cut(text: str, width: int) -> str:
    """`text` in at most `width` cells, with an ellipsis where its end is missing."""
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"
