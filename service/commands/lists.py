"""`adakron tasks`, `versions` and `audit`: what a running server has, one line for each item."""

import json
from typing import Annotated, Any

import typer

from service.commands.columns import cut, minute, print_columns
from service.commands.shared import LOCAL, AsJson, Key, Task, Url, connect, console, say

METRIC_CELLS = 40
SHA256_CELLS = 64  # a digest is shown whole


def tasks(url: Url = LOCAL, key: Key = None, as_json: AsJson = False) -> None:
    """List what a server answers for, one task a line."""
    with connect(url, key) as client:
        found = client.tasks()
    if as_json:
        console.print_json(json.dumps(found))
        return
    rows = [
        (
            item["task"],
            str(item["version"]),
            "pairs" if item["pair"] else "texts",
            _metrics(item),
            ", ".join(item["labels"]) or "a number",
        )
        for item in found
    ]
    print_columns(("TASK", "VERSION", "TAKES", "METRICS", "ANSWERS"), rows)


def versions(task: Task, url: Url = LOCAL, key: Key = None, as_json: AsJson = False) -> None:
    """List the versions of a task, the newest first, with their aliases and what each would change for clients."""
    with connect(url, key) as client:
        found = client.task(task)
    if as_json:
        console.print_json(json.dumps(found))
        return
    rows = [
        (
            str(item["version"]),
            minute(item["created_at"]),
            ", ".join(alias for alias, number in found["aliases"].items() if number == item["version"]) or "-",
            f"{item['num_bytes']:,}",
            item["digest"],
            _metrics(item),
            _differences(item),
        )
        for item in reversed(found["versions"])
    ]
    print_columns(("VERSION", "PUBLISHED", "ALIASES", "BYTES", "SHA-256", "METRICS", "AGAINST LIVE"), rows)
    target = next((item for item in found["versions"] if item["version"] == found["rollback_to"]), None)
    if target is not None:
        breaks = target["changes"] and not target["changes"]["compatible"]
        option = " --allow-incompatible" if breaks else ""
        say(f"adakron rollback {task}{option} makes version {target['version']} live")


def audit(
    task: Annotated[str | None, typer.Option("--task", help="Only of this task.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="So many of the last changes.")] = 50,
    url: Url = LOCAL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List who changed what, the newest first."""
    with connect(url, key) as client:
        found = client.audit(limit=limit, task=task)
    if as_json:
        console.print_json(json.dumps(found))
        return
    rows = [
        (
            str(item["id"]),
            f"{item['at'][:19]}Z",
            item["actor"],
            item["action"],
            item["task"] or "-",
            str(item["version"] or "-"),
            item["alias"] or "-",
            item["source"] or "-",
            item["detail"],
        )
        for item in found
    ]
    print_columns(
        ("ID", "AT", "ACTOR", "ACTION", "TASK", "VERSION", "ALIAS", "SOURCE", "DETAIL"), rows, least=SHA256_CELLS
    )


def _metrics(item: dict[str, Any]) -> str:
    words = ", ".join(f"{name} {value:.3f}" for name, value in item["metrics"].items())
    return cut(words, METRIC_CELLS) or "-"


def _differences(item: dict[str, Any]) -> str:
    damaged = ["damaged: publish its file again"] if item["quarantined"] else []
    changes = item["changes"] or {"breaking": [], "notes": []}
    return "; ".join([*damaged, *changes["breaking"], *changes["notes"]]) or "-"
