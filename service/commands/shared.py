"""What several subcommands need: the options for a running server, its answers, and one-line errors."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console

from service.client import KEY_VARIABLES, Client, ClientError, FoundKey, find_key
from service.core import find_name_fault
from service.errors import make_printable
from service.settings import Reading, Settings, read_settings

LOCAL = "http://127.0.0.1:8000"

Url = Annotated[str, typer.Option("--url", envvar="ADAKRON_URL", help="The running server.")]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar=list(KEY_VARIABLES),
        help="A key of the server; of a local one, admin.key is read from ADAKRON_DATA_DIR, or from ./data.",
    ),
]
Task = Annotated[str, typer.Argument(help="Name of the task, as `adakron tasks` lists it.")]

AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]

console = Console(emoji=False)  # `:bug:` may be a label


@contextmanager
def connect(url: str, key: str | None) -> Iterator[Client]:
    """A client with the key that was given or a file holds, or else a local server's first key, if it can be read.

    Where a call inside raises ClientError: one line on stderr, and the end.
    """
    found = FoundKey(None, "")
    try:
        found = find_key(url, key)
        with Client(url, found.text) as client:
            yield client
    except ClientError as error:
        fail(f"{error}{_remedy(error, found)}")


def _remedy(error: ClientError, found: FoundKey) -> str:
    """What to do about it, where it is for this machine to say."""
    if error.status == 401 and found.text is None:
        return f"; none was found ({found.place}): give one as --key KEY, or set {KEY_VARIABLES[0]}"
    if error.status == 401:
        return f"; it comes from {found.place}: give another as --key KEY, or set {KEY_VARIABLES[0]}"
    if error.error_type == "not_found":
        return "; the admin API may have a port of its own (ADAKRON_ADMIN_PORT): give its address as --url"
    return ""


def is_terminal() -> bool:
    """Whether there is one to ask on."""
    return sys.stdin.isatty()


def confirm(question: str, yes: bool) -> None:
    """Ask before something is lost; end where there is no terminal to ask on, or the answer is no."""
    if yes:
        return
    if not is_terminal():
        fail(f"there is no terminal to ask on ({question}): --yes does it without a question")
    if not typer.confirm(make_printable(question)):
        fail("nothing was changed")


def reading_with(**given: Any) -> Reading:
    """The environment's settings with the options that are not None; a problem is one line on stderr and the end."""
    reading = read_settings({name: value for name, value in given.items() if value is not None})
    for problem in reading.problems:
        fail(str(problem))
    return reading


def settings_with(**given: Any) -> Settings:
    """The same, with a line on stderr for the variables that are ignored."""
    reading = reading_with(**given)
    for line in reading.warnings():
        warn(line)
    return reading.settings


def given(context: typer.Context, *names: str) -> str:
    """Those of these options that stand on the command line."""
    sources = {name: context.get_parameter_source(name) for name in names}
    given = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    return ", ".join("--license" if name == "licence" else f"--{name.replace('_', '-')}" for name in given)


def require_name(kind: Literal["task", "alias"], name: str) -> None:
    """End with one line on stderr where `name` cannot be the name of a task or an alias."""
    if fault := find_name_fault(kind, name):
        fail(fault)


def say(line: str) -> None:
    """One line on stdout, whatever stands in it."""
    console.print(make_printable(line), markup=False, highlight=False, soft_wrap=True)


def warn(message: str) -> None:
    """One line on stderr."""
    errors = Console(stderr=True, emoji=False)
    errors.print("[yellow]warning:[/yellow]", end=" ")
    errors.print(make_printable(message), highlight=False, soft_wrap=True, markup=False)


def fail(message: str) -> NoReturn:
    """One line on stderr, and exit code 2."""
    errors = Console(stderr=True, emoji=False)
    errors.print("[red]error:[/red]", end=" ")
    errors.print(make_printable(message), highlight=False, soft_wrap=True, markup=False)
    raise typer.Exit(2)
