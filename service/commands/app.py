"""The subcommands of `adakron`, and the panels of `adakron --help`."""

from collections.abc import Callable

import typer

from service.commands import keys
from service.commands.adapt import adapt
from service.commands.alias import activate, alias, rollback
from service.commands.backup import backup, restore
from service.commands.doctor import doctor
from service.commands.inspect import inspect
from service.commands.pull import pull
from service.commands.push import push
from service.commands.serve import serve
from service.commands.tasks import predict, tasks, weight
from service.commands.versions import delete, download, versions
from service.train.command import EPILOG, train

app = typer.Typer(
    name="adakron",
    help="Serve many text tasks on one frozen BERT: each task is an AdaKron adapter of about half a percent of it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Server": (serve, doctor, backup, restore, keys.audit),
    "Adapters": (train, adapt, push, pull, activate, rollback, versions, alias, download, delete, weight, inspect),
    "Predictions": (tasks, predict),
}
for panel, commands in PANELS.items():
    for command in commands:
        app.command(epilog=EPILOG if command is train else None, rich_help_panel=panel)(command)
app.add_typer(keys.app, name="keys", rich_help_panel="Server")
