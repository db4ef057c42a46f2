"""The subcommands of `adakron`, and the panels of `adakron --help`."""

import typer

from service.commands import keys
from service.commands.backup import backup, restore
from service.commands.doctor import doctor
from service.commands.hub import pull
from service.commands.lists import audit, tasks, versions
from service.commands.predictions import predict
from service.commands.registry import alias, delete, download
from service.commands.serve import serve
from service.commands.versions import activate, inspect, push, rollback, weight
from service.train.command import EPILOG, train

app = typer.Typer(
    name="adakron",
    help="Serve many text tasks on one frozen BERT: each task is an AdaKron adapter of about half a percent of it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command(rich_help_panel="Server")(serve)
app.command(rich_help_panel="Server")(doctor)
app.add_typer(keys.app, name="keys", rich_help_panel="Server")
app.command(rich_help_panel="Server")(backup)
app.command(rich_help_panel="Server")(restore)
app.command(rich_help_panel="Server")(audit)
app.command(epilog=EPILOG, rich_help_panel="Adapters")(train)
app.command(rich_help_panel="Adapters")(push)
app.command(rich_help_panel="Adapters")(pull)
app.command(rich_help_panel="Adapters")(activate)
app.command(rich_help_panel="Adapters")(rollback)
app.command(rich_help_panel="Adapters")(versions)
app.command(rich_help_panel="Adapters")(alias)
app.command(rich_help_panel="Adapters")(download)
app.command(rich_help_panel="Adapters")(delete)
app.command(rich_help_panel="Adapters")(weight)
app.command(rich_help_panel="Adapters")(inspect)
app.command(rich_help_panel="Predictions")(tasks)
app.command(rich_help_panel="Predictions")(predict)
