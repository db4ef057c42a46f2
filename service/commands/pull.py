"""`adakron pull`: an adapter from the Hugging Face Hub, into a file or onto a running server."""

from pathlib import Path
from typing import Annotated

import typer

from adapters.errors import AdapterError
from service.commands.options import (
    LOCAL,
    AllowIncompatible,
    Force,
    Key,
    Url,
    connect,
    given,
    hub_settings,
    refusal,
    require_name,
)
from service.commands.push import publish
from service.commands.terminal import fail, require_free, say, write_file
from service.errors import ServiceError


def pull(
    context: typer.Context,
    repo: Annotated[
        str, typer.Argument(metavar="OWNER/REPO", help="A model of the Hub that `adakron push --hub` made.")
    ],
    revision: Annotated[
        str | None, typer.Option("--revision", help="A branch, tag or commit; by default the newest commit of main.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", dir_okay=False, help="The file to write; by default ./REPO.safetensors."),
    ] = None,
    force: Force = False,
    task: Annotated[
        str | None,
        typer.Option("--task", help="Publish it under this name on a running server instead of writing a file."),
    ] = None,
    url: Url = LOCAL,
    key: Key = None,
    activate: Annotated[bool, typer.Option(help="With --task: make it live at once.")] = True,
    allow_incompatible: AllowIncompatible = False,
    backbone: Annotated[
        str | None,
        typer.Option("--backbone", help="The backbone that it must be made for; by default ADAKRON_BACKBONE."),
    ] = None,
) -> None:
    """Fetch an adapter from the Hugging Face Hub: into a file, or onto a running server."""
    settings = hub_settings(backbone)
    if task is not None and (foreign := given(context, "output", "force", "backbone")):
        fail(f"{foreign}: for a file, and --task publishes on a server, which checks for its own backbone")
    if task is None and (foreign := given(context, "url", "key", "activate", "allow_incompatible")):
        fail(f"{foreign}: only with --task NAME")
    if task is not None:
        require_name("task", task)
    path = output or Path(f"{repo.rpartition('/')[2]}.safetensors")
    if task is None:
        require_free(path, force)
    from service.hub.repository import Repository  # the Hub's library takes a second to import

    try:
        pulled = Repository(repo).pull(revision, max_bytes=settings.max_upload_bytes)
        if task is None:
            from service.publishing.checks import check_file  # imports torch

            check_file(pulled.data, settings)
    except (AdapterError, ServiceError) as error:
        fail(refusal(error, repo))
    unverified = "" if pulled.verified else " (neither the Hub nor the card gave a SHA-256 to compare with)"
    origin = f"{repo} at {pulled.commit[:12]}{unverified}"
    if task is None:
        write_file(path, pulled.data)
        say(f"{path}: {len(pulled.data):,} bytes from {origin}")
        return
    with connect(url, key) as client:  # the server checks the file
        publish(
            client,
            task,
            pulled.data,
            activate=activate,
            allow_incompatible=allow_incompatible,
            origin=f"{origin}: ",
        )
