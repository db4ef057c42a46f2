"""`adakron push`, `activate`, `rollback`, `weight` and `inspect`: adapter files and the versions that they become."""

import json
from pathlib import Path
from typing import Annotated

import typer

from service.commands.hub import push_to_hub
from service.commands.publishing import AllowIncompatible, publish, say_moved
from service.commands.shared import LOCAL, Key, Task, Url, connect, console, fail, given, require_name, say
from service.core import MAX_WEIGHT, MIN_WEIGHT
from service.errors import make_printable

HUB = "To the Hugging Face Hub, instead of a server"
AdapterFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="An adapter file.")]


def push(
    context: typer.Context,
    task: Annotated[str, typer.Argument(help="Name that clients will call it by: a-z, 0-9 and -.")],
    file: AdapterFile,
    url: Url = LOCAL,
    key: Key = None,
    activate: Annotated[bool, typer.Option(help="Make it live at once.")] = True,
    allow_incompatible: AllowIncompatible = False,
    hub: Annotated[
        str | None,
        typer.Option(
            "--hub", metavar="OWNER/REPO", help="The model that gets it, made if need be.", rich_help_panel=HUB
        ),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="If the model is new: only you can see it.", rich_help_panel=HUB)
    ] = False,
    revision: Annotated[
        str | None, typer.Option("--revision", help="The branch, made if need be; main.", rich_help_panel=HUB)
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--license", metavar="ID", help="For the card: mit ...", rich_help_panel=HUB)
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Even if the model holds other files.", rich_help_panel=HUB)
    ] = False,
) -> None:
    """Publish an adapter file: on a running server, or with --hub on the Hugging Face Hub."""
    require_name("task", task)
    if hub is not None:
        if foreign := given(context, "url", "key", "activate", "allow_incompatible"):
            fail(f"{foreign}: for a server, and --hub pushes to none")
        push_to_hub(task, file, hub, private=private, revision=revision, licence=licence, force=force)
        return
    if foreign := given(context, "private", "revision", "licence", "force"):
        fail(f"{foreign}: only with --hub OWNER/REPO")
    with connect(url, key) as client:
        publish(client, task, file.read_bytes(), activate=activate, allow_incompatible=allow_incompatible)


def activate(
    task: Task,
    version: Annotated[int, typer.Argument(help="Number of the version.")],
    alias: Annotated[str, typer.Option(help="Move another alias than the one clients get.")] = "live",
    allow_incompatible: AllowIncompatible = False,
    url: Url = LOCAL,
    key: Key = None,
) -> None:
    """Make a version live."""
    require_name("alias", alias)
    with connect(url, key) as client:
        say_moved(alias, client.set_alias(task, alias, version, allow_incompatible=allow_incompatible))


def rollback(task: Task, allow_incompatible: AllowIncompatible = False, url: Url = LOCAL, key: Key = None) -> None:
    """Make the version live that was live before."""
    with connect(url, key) as client:
        say_moved("live", client.rollback(task, allow_incompatible=allow_incompatible))


def weight(
    task: Task,
    value: Annotated[float, typer.Argument(metavar="WEIGHT", min=MIN_WEIGHT, max=MAX_WEIGHT, help="1 is usual.")],
    url: Url = LOCAL,
    key: Key = None,
) -> None:
    """Give a task another share of the engine where several tasks want it: with 2, twice that of the others."""
    with connect(url, key) as client:
        answer = client.set_weight(task, value)
    say(f"{answer['task']} has weight {answer['weight']:g}")


def inspect(file: AdapterFile) -> None:
    """Check an adapter file and print what it says of itself."""
    from adapters import checkpoint
    from adapters.errors import CheckpointError

    try:
        adapter = checkpoint.parse(file.read_bytes())
    except CheckpointError as error:
        fail(f"{file}: refused ({error.reason}): {error}")
    config, task = adapter.metadata, adapter.metadata.task
    rows = {
        "file": f"{file} ({file.stat().st_size:,} bytes, {next(iter(adapter.tensors.values())).dtype})",
        "digest": adapter.digest,
        "parameters": f"{config.num_parameters:,} in adapters, {config.num_head_parameters:,} in the head",
        "bottleneck": f"{config.bottleneck} = p {config.p} x q {config.q}",
        "layers": ", ".join(map(str, config.layers)),
        "backbone": f"{config.backbone.name} (weights {config.backbone.weights_sha256[:12]})",
        "task": f"{task.type}, {'pairs of texts' if task.pair else 'single texts'}, at most {task.max_length} tokens",
        "truncation": f"{task.truncation}; special tokens in texts are {task.special_tokens}",
        "labels": ", ".join(task.labels) or "-",
        "pooling": task.pooling,
        "temperature": f"{task.temperature:g}",
        "metrics": ", ".join(f"{name} {value:.4f}" for name, value in config.metrics.items()) or "-",
        "examples": str(len(config.examples)),
        "training": json.dumps(config.training, indent=2, sort_keys=True),
    }
    for name, value in rows.items():
        console.print(f"[bold]{name:12}[/bold]", end="")
        console.print(
            value if name == "training" else make_printable(value), markup=False, highlight=False, soft_wrap=True
        )
