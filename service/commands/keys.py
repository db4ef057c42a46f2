"""`adakron keys create|list|revoke` and `adakron audit`: the keys of a running server, and the log of its changes."""

from typing import Annotated

import typer

from service.client import ApiKey, AuditEntry
from service.commands.options import LOCAL, AsJson, Key, Url, connect, require_name
from service.commands.terminal import Columns, minute, print_list, say
from service.core import SCOPES

SHA256_CELLS = 64  # digests are never cut

app = typer.Typer(help="Make, list and revoke the keys of a running server.", no_args_is_help=True)
Scopes = Annotated[
    list[str], typer.Option("--scope", help=f"{', '.join(SCOPES)}; admin includes the others. Repeatable.")
]
Tasks = Annotated[
    list[str] | None, typer.Option("--task", help="Restrict the key to this task; repeatable. By default every task.")
]
KEYS: Columns[ApiKey] = {
    "ID": lambda key: key.id,
    "MADE": lambda key: minute(key.created_at),
    "REVOKED": lambda key: minute(key.revoked_at),
    "SCOPES": lambda key: ", ".join(key.scopes),
    "NAME": lambda key: key.name,
    "TASKS": lambda key: ", ".join(key.tasks) or "all",
}
ENTRIES: Columns[AuditEntry] = {
    "ID": lambda entry: entry.id,
    "AT": lambda entry: f"{entry.at[:19]}Z",
    "ACTOR": lambda entry: entry.actor,
    "ACTION": lambda entry: entry.action,
    "TASK": lambda entry: entry.task or "-",
    "VERSION": lambda entry: entry.version or "-",
    "ALIAS": lambda entry: entry.alias or "-",
    "SOURCE": lambda entry: entry.source or "-",
    "DETAIL": lambda entry: entry.detail,
}


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the key's user, for `adakron keys list` and the audit log.")],
    scope: Scopes,
    task: Tasks = None,
    url: Url = LOCAL,
    key: Key = None,
) -> None:
    """Make a key and print it; it cannot be shown again."""
    for name_of_task in task or []:
        require_name("task", name_of_task)
    with connect(url, key) as client:
        made = client.admin.create_key(name, scope, task or [])
    print(made.key)  # alone on its line, for scripts


@app.command("list")
def show(url: Url = LOCAL, key: Key = None, as_json: AsJson = False) -> None:
    """List every key that was ever made, revoked ones included."""
    with connect(url, key) as client:
        found = client.admin.keys()
    print_list(found, KEYS, as_json=as_json)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="id", help="ID of the key, as `adakron keys list` shows it.")],
    url: Url = LOCAL,
    key: Key = None,
) -> None:
    """Revoke a key: the server refuses it at once."""
    with connect(url, key) as client:
        revoked = client.admin.revoke_key(key_id)
    say(f"key {revoked.id} ({revoked.name}) is revoked")


def audit(
    task: Annotated[str | None, typer.Argument(help="Show only the changes of this task.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Number of changes to show.")] = 50,
    url: Url = LOCAL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List who changed what, the newest change first."""
    with connect(url, key) as client:
        found = client.admin.audit(task=task, limit=limit)
    print_list(found, ENTRIES, as_json=as_json, min_width=SHA256_CELLS)
