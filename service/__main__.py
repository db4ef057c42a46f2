"""The `adakron` command."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from adapters.errors import AdapterError
from service.client import Client
from service.errors import ServiceError
from service.settings import Settings
from service.train.__main__ import EPILOG, train

app = typer.Typer(
    name="adakron",
    help="Serve many text tasks on one frozen BERT: each task is an AdaKron adapter of about half a percent of it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command(name="train", epilog=EPILOG, rich_help_panel="Adapters")(train)
console = Console()

_KEY_FILE = "data/admin.key"
Url = Annotated[str, typer.Option("--url", envvar="ADAKRON_URL", help="The running server.")]
Key = Annotated[
    str | None,
    typer.Option(
        "--key", envvar="ADAKRON_ADMIN_KEY", help=f"Admin key; of a local server, {_KEY_FILE} is read without it."
    ),
]
AdapterFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="An adapter file.")]
Task = Annotated[str, typer.Argument(help="Name of the task, as `adakron tasks` lists it.")]
LOCAL = "http://127.0.0.1:8000"


@app.command(rich_help_panel="Server")
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0 for every interface.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    backbone: Annotated[str | None, typer.Option(help="Local folder, or a name on the Hugging Face Hub.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the registry and of the admin key.")] = None,
) -> None:
    """Start the service. Every other setting is an environment variable ADAKRON_* (docs/operations.md)."""
    given = {"host": host, "port": port, "backbone": backbone, "device": device, "data_dir": data_dir}
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]  # the values of several fields
    except ValidationError as error:
        first = error.errors()[0]
        _fail(f"setting {'.'.join(map(str, first['loc']))}: {first['msg']}")
    from service.server import run_server  # torch and FastAPI take seconds to import; other commands need neither

    try:
        run_server(settings)
    except (AdapterError, ServiceError) as error:
        _fail(str(error))


@app.command(rich_help_panel="Adapters")
def push(
    task: Annotated[str, typer.Argument(help="Name that clients will call it by: a-z, 0-9 and -.")],
    file: AdapterFile,
    url: Url = LOCAL,
    key: Key = None,
    activate: Annotated[bool, typer.Option(help="Make it live at once.")] = True,
) -> None:
    """Publish an adapter file on a running server."""
    with _admin_client(url, key) as client:
        answer = _call(client.upload, task, file.read_bytes(), activate=activate)
    state = "live" if answer["live"] else "not live (adakron activate makes it so)"
    console.print(f"{answer['task']}@{answer['version']} is {state}; digest {answer['digest'][:12]}")


@app.command(rich_help_panel="Adapters")
def tasks(url: Url = LOCAL, as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """List what a server answers for."""
    with Client(url) as client:
        found = _call(client.tasks)
    if as_json:
        console.print_json(json.dumps(found))
        return
    table = Table("task", "version", "takes", "answers", "metrics")
    for item in found:
        labels = ", ".join(item["labels"][:6]) + (" ..." if len(item["labels"]) > 6 else "")
        metrics = ", ".join(f"{name} {value:.3f}" for name, value in item["metrics"].items())
        takes = "pairs" if item["pair"] else "texts"
        table.add_row(item["task"], str(item["version"]), takes, labels or "a number", metrics)
    console.print(table)


@app.command(rich_help_panel="Adapters")
def activate(
    task: Task,
    version: Annotated[int, typer.Argument(help="Number of the version.")],
    alias: Annotated[str, typer.Option(help="Move another alias than the one clients get.")] = "live",
    url: Url = LOCAL,
    key: Key = None,
) -> None:
    """Make a version live."""
    with _admin_client(url, key) as client:
        _show_aliases(_call(client.set_alias, task, alias, version))


@app.command(rich_help_panel="Adapters")
def rollback(task: Task, url: Url = LOCAL, key: Key = None) -> None:
    """Make the version live that was live before."""
    with _admin_client(url, key) as client:
        _show_aliases(_call(client.rollback, task))


@app.command(rich_help_panel="Predictions")
def predict(
    task: Annotated[str, typer.Argument(help="Name of the task; sst2@7 pins a version.")],
    texts: Annotated[
        list[str] | None, typer.Argument(help="Texts; without any, one a line from standard input.")
    ] = None,
    pair: Annotated[bool, typer.Option("--pair", help="Two texts make one input (on a line: with a tab).")] = False,
    url: Url = LOCAL,
) -> None:
    """Classify texts; prints one JSON object a line."""
    given = texts if texts else [line.rstrip("\n") for line in sys.stdin if line.strip()]
    inputs: list[Any] = list(given)
    if pair:
        flat = given if texts else [part for line in given for part in line.split("\t")]
        if len(flat) % 2:
            _fail("--pair needs an even number of texts")
        inputs = [[flat[i], flat[i + 1]] for i in range(0, len(flat), 2)]
    with Client(url) as client:
        answer = _call(client.predict, task, inputs)
    for prediction in answer["predictions"]:
        console.print_json(json.dumps(prediction), indent=None)


@app.command(rich_help_panel="Adapters")
def inspect(file: AdapterFile) -> None:
    """Check an adapter file and print what it says of itself."""
    from adapters import checkpoint
    from adapters.errors import CheckpointError

    try:
        adapter = checkpoint.loads(file.read_bytes())
    except CheckpointError as error:
        _fail(f"{file}: refused ({error.reason}): {error}")
    config, task = adapter.metadata, adapter.metadata.task
    rows = {
        "file": f"{file} ({file.stat().st_size:,} bytes, {next(iter(adapter.tensors.values())).dtype})",
        "digest": adapter.digest,
        "parameters": f"{config.num_parameters:,} in adapters, {config.num_head_parameters:,} in the head",
        "bottleneck": f"{config.bottleneck} = p {config.p} x q {config.q}",
        "layers": ", ".join(map(str, config.layers)),
        "backbone": f"{config.backbone.name} (weights {config.backbone.weights_sha256[:12]})",
        "task": f"{task.type}, {'pairs of texts' if task.pair else 'single texts'}, at most {task.max_length} tokens",
        "labels": ", ".join(task.labels) or "-",
        "pooling": task.pooling,
        "metrics": ", ".join(f"{name} {value:.4f}" for name, value in config.metrics.items()) or "-",
        "examples": str(len(config.examples)),
        "training": json.dumps(config.training, indent=2, sort_keys=True),
    }
    for name, value in rows.items():
        console.print(f"[bold]{name:12}[/bold]", end="")
        console.print(value, markup=False, highlight=False)


def _admin_client(url: str, key: str | None) -> Client:
    local = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")  # the file's key is for nobody else
    if key is None and local and Path(_KEY_FILE).is_file():
        key = Path(_KEY_FILE).read_text().strip()
    return Client(url, key)


def _call(function: Any, *arguments: Any, **options: Any) -> Any:
    try:
        return function(*arguments, **options)
    except ServiceError as error:
        _fail(str(error))


def _show_aliases(answer: dict[str, Any]) -> None:
    for alias, version in answer["aliases"].items():
        console.print(f"{answer['task']}: {alias} is version {version}")


def _fail(message: str) -> Any:
    Console(stderr=True).print(f"[red]error:[/red] {message}", highlight=False, soft_wrap=True)
    raise typer.Exit(2)


def main() -> None:
    """Entry point of `adakron`."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    logging.captureWarnings(True)
    app()


if __name__ == "__main__":
    main()
