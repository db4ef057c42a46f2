"""`adakron activate`, `rollback` and `alias`: move the aliases of a task on a running server."""

from typing import Annotated

import typer

from service.client import Changes, MovedAlias
from service.commands.options import LOCAL, AllowIncompatible, Key, Task, Url, Version, Yes, connect, require_name
from service.commands.terminal import confirm, fail, say


def activate(
    task: Task,
    version: Version,
    alias: Annotated[str, typer.Option(help="Move this alias instead of `live`.")] = "live",
    allow_incompatible: AllowIncompatible = False,
    url: Url = LOCAL,
    key: Key = None,
) -> None:
    """Make a version live."""
    require_name("alias", alias)
    with connect(url, key) as client:
        _say_moved(alias, client.admin.set_alias(task, alias, version, allow_incompatible=allow_incompatible))


def rollback(task: Task, allow_incompatible: AllowIncompatible = False, url: Url = LOCAL, key: Key = None) -> None:
    """Make the version live that was live before."""
    with connect(url, key) as client:
        _say_moved("live", client.admin.rollback(task, allow_incompatible=allow_incompatible))


def alias(
    task: Task,
    alias: Annotated[str, typer.Argument(help="Name of the alias: clients ask for TASK@ALIAS; `live` is the default.")],
    version: Annotated[int | None, typer.Argument(min=1, help="Number of the version.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Remove the alias.")] = False,
    allow_incompatible: AllowIncompatible = False,
    yes: Yes = False,
    url: Url = LOCAL,
    key: Key = None,
) -> None:
    """Point an alias of a task at a version, or remove it."""
    if delete == (version is not None):
        fail("give a version to point the alias at, or --delete to remove it")
    if version is not None:
        activate(task, version, alias, allow_incompatible, url, key)
        return
    with connect(url, key) as client:
        effect = "then answers only by version" if alias == "live" else "then refuses clients that ask for it"
        confirm(f"Remove the alias {alias} of {task}, which {effect}?", yes)
        client.admin.delete_alias(task, alias)
        say(f"the alias {alias} of {task} is removed")


def say_changes(version: str, changes: Changes | None) -> None:
    """Print the differences that clients notice between `version` and the version that was live before."""
    if changes:
        say(f"note: {version} differs from version {changes.live}: {'; '.join([*changes.breaking, *changes.notes])}")


def _say_moved(alias: str, moved: MovedAlias) -> None:
    for name, version in moved.aliases.items():
        say(f"{moved.task}: {name} is version {version}")
    say_changes(f"{moved.task}@{moved.aliases.get(alias)}", moved.changes)
