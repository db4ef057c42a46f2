"""`adakron adapt`: give one user a gate of their own, from a few rows, and publish the result."""

from typing import Annotated

import typer

from adapters.errors import AdapterError
from service.client import AdaKronClient
from service.commands.options import LOCAL, Key, Task, Url, connect, hub_settings
from service.commands.push import publish
from service.commands.terminal import fail, say
from service.errors import ServiceError
from service.train.command import remedy
from service.train.options import DataOptions


def adapt(
    task: Task,
    train: Annotated[str, typer.Option("--train", help="File with rows that are labelled as this user would.")],
    user: Annotated[str | None, typer.Option("--user", help="Short for --context user=NAME.")] = None,
    context: Annotated[
        str | None,
        typer.Option("--context", metavar="FIELD=VALUE", help="The key, as requests name it: user=u17, language=de."),
    ] = None,
    text_column: Annotated[str | None, typer.Option(help="Column of the text; recognised by default.")] = None,
    pair_column: Annotated[str | None, typer.Option(help="Column of the second text.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of the label; recognised by default.")] = None,
    label_columns: Annotated[str | None, typer.Option(help="Columns of 0 and 1, one per label.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Encoding of a text file. By default UTF-8.")] = None,
    backbone: Annotated[
        str | None, typer.Option(help="The backbone of the server. By default ADAKRON_BACKBONE, else all-MiniLM-L6-v2.")
    ] = None,
    url: Url = LOCAL,
    key: Key = None,
    activate: Annotated[bool, typer.Option(help="Make it live at once.")] = True,
) -> None:
    """Fit the gate of one user, or of another key, on 5 to 50 rows, and publish it as a new version of the task.

    The task must have been trained with --gate. Experts, head and the gates of all others stay as they are.
    """
    chosen = _find_key(user, context)
    settings = hub_settings(backbone)
    try:
        options = DataOptions(
            train=train,
            text_column=text_column,
            pair_column=pair_column,
            label_column=label_column,
            label_columns=label_columns,  # a text is split at its commas
            encoding=encoding,
        )
        with connect(url, key) as client:
            live = _live_version(client, task)
            data = client.admin.download(task, live)
            from adapters.backbone.source import load_backbone  # imports torch
            from service.train import adapt as fitting
            from service.train.prepare import limit_threads

            limit_threads()
            adapted = fitting.adapt(data, load_backbone(settings.backbone), chosen, options)
            if _live_version(client, task) != live:
                fail(f"{task}@{live} is not live any more, so nothing was published; run the command again")
            known = "a new gate" if adapted.is_new else "its gate"
            say(
                f"{known} for this {chosen[0]}, fitted on {adapted.num_rows} rows: loss {adapted.loss[0]:.3f} -> "
                f"{adapted.loss[1]:.3f}, {adapted.measure} {adapted.scores[0]:.3f} -> {adapted.scores[1]:.3f}"
            )
            publish(client, task, adapted.data, activate=activate, allow_incompatible=False)
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed; adapting needs the libraries of training: {remedy()}")
    except (AdapterError, ServiceError) as error:
        fail(str(error))


def _find_key(user: str | None, context: str | None) -> tuple[str, str]:
    """Return field and value of the key. Ends the command if the options do not name one key."""
    if (user is None) == (context is None):
        fail("give --user NAME, or --context FIELD=VALUE for another field")
    if user is not None:
        return "user", user
    field, equals, value = str(context).partition("=")
    if not equals:
        fail("--context names a field and its value: --context user=u17")
    return field, value


def _live_version(client: AdaKronClient, task: str) -> int:
    live = client.admin.task(task).aliases.get("live")
    if live is None:
        fail(f"{task} has no live version to start from: make one live with adakron activate")
    return live
