"""`adakron keys create|list|revoke`: who may use a running server."""

import json
from typing import Annotated

import typer

from service.commands.columns import minute, print_columns
from service.commands.shared import LOCAL, AsJson, Key, Url, connect, console, require_name, say
from service.core import SCOPES

app = typer.Typer(help="Make, list and revoke the keys of a running server.", no_args_is_help=True)
Scopes = Annotated[
    list[str], typer.Option("--scope", help=f"{', '.join(SCOPES)}; admin includes the others. Several are possible.")
]
Tasks = Annotated[
    list[str] | None, typer.Option("--task", help="Only for this task; several are possible. Without it: for all.")
]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="For people: who or what will use it.")],
    scope: Scopes,
    task: Tasks = None,
    url: Url = LOCAL,
    key: Key = None,
) -> None:
    """Make a key and print it: this is the only time that it can be seen."""
    for name_of_task in task or []:
        require_name("task", name_of_task)
    with connect(url, key) as client:
        answer = client.create_key(name, scope, task or [])
    print(answer["key"])  # alone on its line, for scripts


@app.command("list")
def show(url: Url = LOCAL, key: Key = None, as_json: AsJson = False) -> None:
    """List every key that was made, revoked ones included."""
    with connect(url, key) as client:
        found = client.keys()
    if as_json:
        console.print_json(json.dumps(found))
        return
    rows = [
        (
            item["id"],
            minute(item["created_at"]),
            minute(item["revoked_at"]) if item["revoked_at"] else "-",
            ", ".join(item["scopes"]),
            item["name"],
            ", ".join(item["tasks"]) or "all",
        )
        for item in found
    ]
    print_columns(("ID", "MADE", "REVOKED", "SCOPES", "NAME", "TASKS"), rows)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `adakron keys list` shows it.")],
    url: Url = LOCAL,
    key: Key = None,
) -> None:
    """Make a key good for nothing, at once."""
    with connect(url, key) as client:
        answer = client.revoke_key(key_id)
    say(f"key {answer['id']} ({answer['name']}) is revoked")
