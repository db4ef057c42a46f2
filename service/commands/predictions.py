"""`adakron tasks` and `adakron predict`: what clients of a running server do."""

import json
import sys
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from service.commands.shared import LOCAL, Key, Url, call, connect, console, fail


def tasks(
    url: Url = LOCAL, key: Key = None, as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False
) -> None:
    """List what a server answers for."""
    with connect(url, key) as client:
        found = call(client.tasks)
    if as_json:
        console.print_json(json.dumps(found))
        return
    table = Table("task", "version", "takes", "answers", "metrics")
    for item in found:
        labels = ", ".join(item["labels"][:6]) + (" ..." if len(item["labels"]) > 6 else "")
        metrics = ", ".join(f"{name} {value:.3f}" for name, value in item["metrics"].items())
        takes = "pairs" if item["pair"] else "texts"
        table.add_row(item["task"], str(item["version"]), takes, Text(labels or "a number"), Text(metrics))
    console.print(table)


def predict(
    task: Annotated[str, typer.Argument(help="Name of the task; sst2@7 pins a version.")],
    texts: Annotated[
        list[str] | None, typer.Argument(help="Texts; without any, one a line from standard input.")
    ] = None,
    pair: Annotated[bool, typer.Option("--pair", help="Two texts make one input (on a line: with a tab).")] = False,
    url: Url = LOCAL,
    key: Key = None,
) -> None:
    """Classify texts; prints one JSON object a line."""
    given = texts if texts else [line.rstrip("\n") for line in sys.stdin if line.strip()]
    inputs: list[Any] = list(given)
    if pair:
        flat = given if texts else [part for line in given for part in line.split("\t")]
        if len(flat) % 2:
            fail("--pair needs an even number of texts")
        inputs = [[flat[i], flat[i + 1]] for i in range(0, len(flat), 2)]
    with connect(url, key) as client:
        answer = call(client.predict, task, inputs)
    for prediction in answer["predictions"]:
        console.print_json(json.dumps(prediction), indent=None)
