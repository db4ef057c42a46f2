"""What `adakron push` and `adakron pull --task` have in common: an upload, its outcome and what it changes."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from service.client import Client, ClientError
from service.commands.shared import fail, say

AllowIncompatible = Annotated[
    bool,
    typer.Option(
        "--allow-incompatible",
        help="Make it live even where its type, pairs or missing labels break clients of the live version.",
    ),
]


def publish(
    client: Client, task: str, data: bytes, *, activate: bool, allow_incompatible: bool, origin: str = ""
) -> None:
    """Upload and say what came of it; `origin` stands before that."""
    answer = _upload(client, task, data, activate=activate, allow_incompatible=allow_incompatible)
    version = f"{answer['task']}@{answer['version']}"
    state = "live" if answer["live"] else "not live (adakron activate makes it so)"
    say(f"{origin}{version} is {state}; digest {answer['digest']}")
    _say_changes(version, answer)


def say_moved(alias: str, answer: Mapping[str, Any]) -> None:
    """Where the aliases of a task point after `alias` has moved, and what that changes for clients."""
    for name, version in answer["aliases"].items():
        say(f"{answer['task']}: {name} is version {version}")
    _say_changes(f"{answer['task']}@{answer['aliases'].get(alias)}", answer)


def _say_changes(version: str, answer: Mapping[str, Any]) -> None:
    """What clients meet, where it is not what they had with the version that was live before."""
    if changes := answer["changes"]:
        differences = "; ".join([*changes["breaking"], *changes["notes"]])
        say(f"note: {version} differs from version {changes['live']}: {differences}")


def _upload(client: Client, task: str, data: bytes, *, activate: bool, allow_incompatible: bool) -> dict[str, Any]:
    try:
        return client.upload(task, data, activate=activate, allow_incompatible=allow_incompatible)
    except ClientError as error:
        if error.error_type != "incompatible":
            raise
        version, changes = error.body["version"], error.body["changes"]
        fail(
            f"{task}@{version} is published and not live, as it would break the clients of version {changes['live']}: "
            f"{'; '.join(changes['breaking'])}; adakron activate {task} {version} --allow-incompatible makes it live "
            "all the same"
        )
