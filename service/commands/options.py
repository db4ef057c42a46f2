"""Options that several commands share: the server and its key, the settings, and names."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from service.auth.client_key import KEY_VARIABLES, FoundKey, find_key
from service.client import AdaKronClient, AdaKronError, ApiError, Retries, Unauthorised
from service.commands.terminal import fail, warn
from service.core import find_name_fault
from service.errors import InvalidInput, UploadRefused
from service.settings import Reading, Settings, read_settings

LOCAL = "http://127.0.0.1:8000"
TIMEOUT_S = 60.0

Url = Annotated[str, typer.Option("--url", envvar="ADAKRON_URL", help="URL of the running server.")]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar=list(KEY_VARIABLES),
        help="A key of the server; for a local server the default is admin.key in ADAKRON_DATA_DIR or ./data.",
    ),
]
Task = Annotated[str, typer.Argument(help="Name of the task, as `adakron tasks` lists it.")]
Version = Annotated[int, typer.Argument(min=1, help="Number of the version.")]
AdapterFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="An adapter file.")]
AllowIncompatible = Annotated[
    bool,
    typer.Option(
        "--allow-incompatible",
        help="Make it live even if its type, pairs, missing labels or context break clients of the live version.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Skip the question.")]


@contextmanager
def connect(url: str, key: str | None) -> Iterator[AdaKronClient]:
    """Yield a client with the key that `find_key` finds. An error of a call ends the command with one line."""
    found = FoundKey(None, "")
    try:
        found = find_key(url, key)
        with AdaKronClient(url, found.text, timeout_s=TIMEOUT_S, retries=Retries(max_attempts=1)) as client:
            yield client
    except (AdaKronError, InvalidInput) as error:
        fail(f"{error}{_remedy(error, found)}")


def _remedy(error: Exception, found: FoundKey) -> str:
    if isinstance(error, Unauthorised) and found.text is None:
        return f"; no key was found ({found.place}): give one as --key KEY, or set {KEY_VARIABLES[0]}"
    if isinstance(error, Unauthorised):
        return f"; the key comes from {found.place}: give another as --key KEY, or set {KEY_VARIABLES[0]}"
    if isinstance(error, ApiError) and error.error_type == "not_found":
        return "; if the admin API has a port of its own (ADAKRON_ADMIN_PORT), give its address as --url"
    return ""


def reading_with(**given: Any) -> Reading:
    """Read the settings, with the options that are not None. A problem ends the command with one line."""
    reading = read_settings({name: value for name, value in given.items() if value is not None})
    for problem in reading.problems:
        fail(str(problem))
    return reading


def settings_with(**given: Any) -> Settings:
    """Return the settings of `reading_with`; variables that are ignored get a line on stderr."""
    reading = reading_with(**given)
    for line in reading.warnings():
        warn(line)
    return reading.settings


def hub_settings(backbone: str | None) -> Settings:
    """Return the settings of the commands that use the Hugging Face Hub."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # the Hub's library reads it when it is imported
    return settings_with(backbone=backbone)


def refusal(error: Exception, origin: str) -> str:
    """Return the message of an error about the adapter file from `origin`."""
    return f"{origin}: refused ({error.reason}): {error}" if isinstance(error, UploadRefused) else str(error)


def given(context: typer.Context, *names: str) -> str:
    """Return those of these options that are on the command line, as text."""
    sources = {name: context.get_parameter_source(name) for name in names}
    given = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    return ", ".join("--license" if name == "licence" else f"--{name.replace('_', '-')}" for name in given)


def require_name(kind: Literal["task", "alias"], name: str) -> None:
    """Exit with code 2 if `name` cannot be the name of a task or an alias."""
    if fault := find_name_fault(kind, name):
        fail(fault)
