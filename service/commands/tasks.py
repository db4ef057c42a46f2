"""`adakron tasks`, `predict` and `weight`: the tasks of a running server."""

import sys
from typing import Annotated

import typer

from service import client as api
from service.client.calls import Input, PredictOptions
from service.commands.options import LOCAL, AsJson, Key, Task, Url, connect
from service.commands.terminal import Columns, fail, metrics_text, print_json, print_list, say, warn
from service.core import MAX_WEIGHT, MIN_WEIGHT


def tasks(url: Url = LOCAL, key: Key = None, as_json: AsJson = False) -> None:
    """List the tasks that are live, one a line."""
    with connect(url, key) as client:
        found = client.tasks()
    columns: Columns[api.Task] = {
        "TASK": lambda item: item.task,
        "VERSION": lambda item: item.version,
        "TAKES": lambda item: ("pairs" if item.pair else "texts") + (f", {item.context}" if item.context else ""),
        "METRICS": lambda item: metrics_text(item.metrics),
        "ANSWERS": lambda item: ", ".join(item.labels) or "a number",
    }
    print_list(found, columns, as_json=as_json)


def predict(
    task: Annotated[str, typer.Argument(help="Name of the task; sst2@7 pins a version.")],
    texts: Annotated[
        list[str] | None, typer.Argument(help="Texts; by default the lines of the standard input.")
    ] = None,
    pair: Annotated[
        bool, typer.Option("--pair", help="Two texts make one input; on standard input a tab separates them.")
    ] = False,
    context: Annotated[
        str | None,
        typer.Option("--context", metavar="FIELD=KEY", help="For a task with gates: its key, as in user=u17."),
    ] = None,
    url: Url = LOCAL,
    key: Key = None,
) -> None:
    """Classify texts, and print one JSON object a line."""
    options: PredictOptions = {} if context is None else {"context": _split_context(context)}
    given = texts or [line.rstrip("\n") for line in sys.stdin if line.strip()]
    inputs: list[Input] = list(given)
    if pair:
        if len(texts or []) % 2:
            fail("--pair needs an even number of texts")
        inputs = list(zip(given[::2], given[1::2], strict=True)) if texts else [_split_pair(line) for line in given]
    with connect(url, key) as client:
        answer = client.predict(task, inputs, **options)
    for prediction in answer.predictions:
        print_json(prediction, indent=None)
    if context is not None and answer.gate == "mean":
        warn(f"{task} has no gate for this key: the mean gate has answered")


def _split_context(context: str) -> dict[str, str]:
    field, is_given, key = context.partition("=")
    if not (field and is_given and key):
        fail(f"--context needs a field and its key, such as user=u17, not {context!r:.99}")
    return {field: key}


def _split_pair(line: str) -> Input:
    first, tab, second = line.partition("\t")
    if not tab or "\t" in second:
        fail(f"--pair needs two texts with one tab between them on each line, not {line!r:.99}")
    return first, second


def weight(
    task: Task,
    value: Annotated[float, typer.Argument(metavar="weight", min=MIN_WEIGHT, max=MAX_WEIGHT, help="The default is 1.")],
    url: Url = LOCAL,
    key: Key = None,
) -> None:
    """Set a task's share of the engine: while tasks compete for it, weight 2 gets twice the tokens of weight 1."""
    with connect(url, key) as client:
        changed = client.admin.set_weight(task, value)
    say(f"{changed.task} has weight {changed.weight:g}")
