"""`adakron predict`."""

import json
import sys
from typing import Annotated, Any

import typer

from service.commands.shared import LOCAL, Key, Url, connect, console, fail


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
        answer = client.predict(task, inputs)
    for prediction in answer["predictions"]:
        console.print_json(json.dumps(prediction), indent=None)
