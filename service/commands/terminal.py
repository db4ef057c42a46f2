"""Input and output of the commands: one-line messages, questions, lists, and files that are written whole."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console

from service.errors import make_printable

T = TypeVar("T")
Columns = Mapping[str, Callable[[T], object]]  # head -> cell of an item
PIPE_WIDTH = 160  # cells of a line if no terminal says how wide it is
_GAP = "  "

console = Console(emoji=False)  # `:bug:` may be a label


def say(line: str) -> None:
    """Print one line on stdout; control characters are escaped."""
    console.print(make_printable(line), markup=False, highlight=False, soft_wrap=True)


def warn(message: str) -> None:
    """Print one line on stderr."""
    _print_error("[yellow]warning:[/yellow]", message)


def fail(message: str) -> NoReturn:
    """Print one line on stderr, and exit with code 2."""
    _print_error("[red]error:[/red]", message)
    raise typer.Exit(2)


def is_terminal() -> bool:
    """Return whether a person can answer a question."""
    return sys.stdin.isatty()


def confirm(question: str, yes: bool) -> None:
    """Ask before something is lost, unless `yes`; exit with code 2 if the answer is no, or there is no terminal."""
    require_terminal(question, yes)
    if not yes and not typer.confirm(make_printable(question)):
        fail("cancelled: nothing was changed")


def require_terminal(question: str, yes: bool) -> None:
    """Exit with code 2 if there is no terminal to ask `question` on and `yes` does not answer it."""
    if not yes and not is_terminal():
        fail(f"there is no terminal to ask on ({question}): --yes skips the question")


def print_json(value: Any, indent: int | None = 2) -> None:
    """Print dataclasses, and lists of them, as JSON."""
    console.print_json(json.dumps(value, default=asdict), indent=indent)


def print_list(items: Sequence[T], columns: Columns[T], *, as_json: bool = False, min_width: int = 20) -> None:
    """Print one line for the heads of the columns and each item; or JSON.

    Only the last column is cut, with an ellipsis, to the terminal's width; it keeps at least `min_width` cells.
    """
    if as_json:
        print_json(items)
        return
    table = [list(columns), *([make_printable(str(cell(item))) for cell in columns.values()] for item in items)]
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)][:-1]
    taken = sum(widths) + len(_GAP) * len(widths)
    left = max(shutil.get_terminal_size((PIPE_WIDTH, 24)).columns - taken, min_width)
    for *cells, last in table:
        padded = [set_cell_size(cell, width) for cell, width in zip(cells, widths, strict=True)]
        print(_GAP.join([*padded, cut(last, left)]).rstrip())


def cut(text: str, width: int) -> str:
    """Shorten `text` to `width` cells; an ellipsis replaces its end."""
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"


def minute(at: str | None) -> str:
    """Shorten a time of the API to the minute."""
    return f"{at[:16]}Z" if at else "-"


def metrics_text(metrics: Mapping[str, float], width: int = 40) -> str:
    """Shorten the metrics of a version to one cell of a list."""
    return cut(", ".join(f"{name} {value:.3f}" for name, value in metrics.items()), width) or "-"


def require_free(path: Path, force: bool) -> None:
    """Exit with code 2 if `path` exists and `force` is not given, or if its folder does not exist."""
    if path.exists() and not force:
        fail(f"{path} exists: --force replaces it, --output names another")
    if not path.parent.is_dir():
        fail(f"{path.parent} is not a folder")


def write_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; exit with code 2 if that fails."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}")
    finally:
        part.unlink(missing_ok=True)


def _print_error(label: str, message: str) -> None:
    errors = Console(stderr=True, emoji=False)
    errors.print(label, end=" ")
    errors.print(make_printable(message), highlight=False, soft_wrap=True, markup=False)
