"""What several subcommands need: the options for a running server, its answers, and one-line errors."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console

from service.client import Client
from service.core import find_name_fault
from service.errors import ServiceError
from service.sdk.local import is_local
from service.settings import Reading, Settings, read_settings
from service.settings.environment import key_of_the_command_line

LOCAL = "http://127.0.0.1:8000"
KEY_FILE = "data/admin.key"

Url = Annotated[str, typer.Option("--url", envvar="ADAKRON_URL", help="The running server.")]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar=["ADAKRON_KEY", "ADAKRON_ADMIN_KEY"],
        help=f"A key of the server; of a local one, {KEY_FILE} is read without it.",
    ),
]
Task = Annotated[str, typer.Argument(help="Name of the task, as `adakron tasks` lists it.")]

console = Console()


def connect(url: str, key: str | None) -> Client:
    """A client with the key that was given or a file holds, or else a local server's first key, if it can be read."""
    if key is None:
        key = call(key_of_the_command_line, os.environ)
    if key is None and is_local(url):  # the file's key is for nobody else
        with suppress(OSError, ValueError):
            key = Path(KEY_FILE).read_text("ascii").strip()
    client: Client = call(Client, url, key)
    return client


def call(function: Any, *arguments: Any, **options: Any) -> Any:
    """What `function` returns; where it raises ServiceError, one line on stderr and the end."""
    try:
        return function(*arguments, **options)
    except ServiceError as error:
        fail(str(error))


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
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def warn(message: str) -> None:
    """One line on stderr."""
    Console(stderr=True).print("[yellow]warning:[/yellow]", end=" ")
    Console(stderr=True).print(message, highlight=False, soft_wrap=True, markup=False)


def fail(message: str) -> NoReturn:
    """One line on stderr, and exit code 2."""
    Console(stderr=True).print("[red]error:[/red]", end=" ")
    Console(stderr=True).print(message, highlight=False, soft_wrap=True, markup=False)
    raise typer.Exit(2)
