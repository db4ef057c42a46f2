"""`adakron alias`, `delete` and `download`: single aliases and versions of a running server."""

from pathlib import Path
from typing import Annotated

import typer

from service.commands.files import require_free, write_whole
from service.commands.publishing import AllowIncompatible, say_moved
from service.commands.shared import LOCAL, Key, Task, Url, Yes, confirm, connect, fail, require_name, say

Number = Annotated[int, typer.Argument(metavar="VERSION", min=1, help="Number of the version.")]


def alias(
    task: Task,
    alias: Annotated[str, typer.Argument(help="Its name: clients ask for TASK@ALIAS; `live` is what they get.")],
    version: Annotated[int | None, typer.Argument(min=1, help="Number of the version.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Remove the alias.")] = False,
    allow_incompatible: AllowIncompatible = False,
    yes: Yes = False,
    url: Url = LOCAL,
    key: Key = None,
) -> None:
    """Point an alias of a task at a version, or remove it."""
    if delete == (version is not None):
        fail("give a VERSION to point the alias at, or --delete to remove it")
    with connect(url, key) as client:
        if version is not None:
            require_name("alias", alias)
            say_moved(alias, client.set_alias(task, alias, version, allow_incompatible=allow_incompatible))
            return
        effect = "answers only by version then" if alias == "live" else "refuses clients that ask for it then"
        confirm(f"Remove the alias {alias} of {task}, which {effect}?", yes)
        client.delete_alias(task, alias)
        say(f"the alias {alias} of {task} is removed")


def delete(task: Task, version: Number, yes: Yes = False, url: Url = LOCAL, key: Key = None) -> None:
    """Remove a version that no alias points to; its number is not used again."""
    with connect(url, key) as client:
        found = client.version(task, version)
        confirm(f"Delete {task}@{version} (SHA-256 {found['digest']}) for good?", yes)
        client.delete_version(task, version)
    say(f"{task}@{version} is deleted; digest {found['digest']}")


def download(
    task: Task,
    version: Number,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", dir_okay=False, help="The file to write; TASK-VERSION.safetensors by default."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    url: Url = LOCAL,
    key: Key = None,
) -> None:
    """Fetch the adapter file of a version, exactly as it was uploaded; its SHA-256 is checked."""
    require_name("task", task)
    path = output or Path(f"{task}-{version}.safetensors")
    require_free(path, force)
    with connect(url, key) as client:
        data, digest = client.download(task, version)
    write_whole(path, data)
    say(f"{path}: {len(data):,} bytes of {task}@{version}; digest {digest}")
