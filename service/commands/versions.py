"""`adakron versions`, `download` and `delete`: the versions of a task on a running server."""

from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer

from service import client as api
from service.commands.options import LOCAL, AsJson, Force, Key, Task, Url, Version, Yes, connect, require_name
from service.commands.terminal import (
    Columns,
    confirm,
    metrics_text,
    minute,
    print_json,
    print_list,
    require_free,
    say,
    write_file,
)


def versions(task: Task, url: Url = LOCAL, key: Key = None, as_json: AsJson = False) -> None:
    """List the versions of a task, the newest first, with their aliases and their differences from the live one."""
    with connect(url, key) as client:
        found = client.admin.task(task)
    if as_json:
        print_json(found)
        return
    columns: Columns[api.Version] = {
        "VERSION": lambda item: item.version,
        "PUBLISHED": lambda item: minute(item.created_at),
        "ALIASES": lambda item: ", ".join(name for name, at in found.aliases.items() if at == item.version) or "-",
        "BYTES": lambda item: f"{item.num_bytes:,}",
        "SHA-256": lambda item: item.digest,
        "METRICS": lambda item: metrics_text(item.metrics),
        "AGAINST LIVE": _differences,
    }
    print_list(found.versions[::-1], columns)
    for item in found.versions:
        if item.version == found.rollback_to:
            option = " --allow-incompatible" if item.changes and not item.changes.compatible else ""
            say(f"adakron rollback {task}{option} makes version {item.version} live")


def download(
    task: Task,
    version: Version,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", dir_okay=False, help="The file to write; TASK-VERSION.safetensors by default."),
    ] = None,
    force: Force = False,
    url: Url = LOCAL,
    key: Key = None,
) -> None:
    """Download the adapter file of a version as it was uploaded, and check its SHA-256."""
    require_name("task", task)
    path = output or Path(f"{task}-{version}.safetensors")
    require_free(path, force)
    with connect(url, key) as client:
        data = client.admin.download(task, version)
    write_file(path, data)
    say(f"{path}: {len(data):,} bytes of {task}@{version}; digest {sha256(data).hexdigest()}")


def delete(task: Task, version: Version, yes: Yes = False, url: Url = LOCAL, key: Key = None) -> None:
    """Delete a version that no alias points to; its number is not used again."""
    with connect(url, key) as client:
        found = client.admin.version(task, version)
        confirm(f"Delete {task}@{version} (SHA-256 {found.digest}) for good?", yes)
        client.admin.delete_version(task, version)
    say(f"{task}@{version} is deleted; digest {found.digest}")


def _differences(item: api.Version) -> str:
    damaged = ["damaged: publish its file again"] if item.quarantined else []
    words = [*item.changes.breaking, *item.changes.notes] if item.changes else []
    return "; ".join([*damaged, *words]) or "-"
