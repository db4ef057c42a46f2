"""`adakron pull`, and what `adakron push --hub` does: adapters on the Hugging Face Hub."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapters.errors import AdapterError
from service.commands.files import require_free, write_whole
from service.commands.publishing import AllowIncompatible, publish
from service.commands.shared import LOCAL, Key, Url, connect, fail, given, require_name, say, settings_with
from service.errors import ServiceError, UploadRefused
from service.settings import Settings

if TYPE_CHECKING:
    from service.hub.repository import Pulled

Repo = Annotated[str, typer.Argument(metavar="OWNER/REPO", help="A model of the Hub that `adakron push --hub` made.")]
Backbone = Annotated[
    str | None, typer.Option("--backbone", help="What it must be made for; by default ADAKRON_BACKBONE.")
]


def pull(
    context: typer.Context,
    repo: Repo,
    revision: Annotated[
        str | None, typer.Option("--revision", help="A branch, tag or commit; by default the newest of main.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", dir_okay=False, help="The file to write; by default REPO.safetensors, here."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    task: Annotated[
        str | None, typer.Option("--task", help="Publish it under this name on a running server, and write no file.")
    ] = None,
    url: Url = LOCAL,
    key: Key = None,
    activate: Annotated[bool, typer.Option(help="With --task: make it live at once.")] = True,
    allow_incompatible: AllowIncompatible = False,
    backbone: Backbone = None,
) -> None:
    """Fetch an adapter from the Hugging Face Hub: into a file, or onto a running server."""
    settings = _settings(backbone)
    if task is not None and (foreign := given(context, "output", "force", "backbone")):
        fail(f"{foreign}: for a file, and --task publishes on a server, which checks for its own backbone")
    if task is None and (foreign := given(context, "url", "key", "activate", "allow_incompatible")):
        fail(f"{foreign}: only with --task NAME")
    if task is not None:
        require_name("task", task)
    path = output or Path(f"{repo.rpartition('/')[2]}.safetensors")
    if task is None:
        require_free(path, force)
    from service.hub.repository import Repository  # as the Hub's library, it takes a second to import

    try:
        pulled = Repository(repo).pull(revision, max_bytes=settings.max_upload_bytes)
        if task is None:
            from service.hub.check import check_file  # imports torch

            check_file(pulled.data, settings)
    except (AdapterError, ServiceError) as error:
        fail(_refusal(error, repo))
    where = f"{repo} at {pulled.commit[:12]}{_digest_note(pulled)}"
    if task is not None:
        with connect(url, key) as client:  # where the same checks are made
            publish(
                client,
                task,
                pulled.data,
                activate=activate,
                allow_incompatible=allow_incompatible,
                origin=f"{where}: ",
            )
    else:
        write_whole(path, pulled.data)
        say(f"{path}: {len(pulled.data):,} bytes from {where}")


def push_to_hub(
    task: str, file: Path, repo: str, *, private: bool, revision: str | None, licence: str | None, force: bool
) -> None:
    """Check the file as at an upload, write its card, and publish both in one commit."""
    settings = _settings(None)
    num_bytes = file.stat().st_size
    if num_bytes > settings.max_upload_bytes:
        fail(f"{file} has {num_bytes:,} bytes; at most {settings.max_upload_bytes:,} are taken")
    from service.hub.card import make_card  # as the Hub's library, it takes a second to import
    from service.hub.repository import Repository

    data = file.read_bytes()
    try:
        repository = Repository(repo)
        repository.require_access()
        from service.hub.check import check_file  # imports torch

        adapter = check_file(data, settings)
        card = make_card(adapter, task, repo, licence=licence)
        published = repository.push(data, card, private=private, revision=revision, force=force)
    except (AdapterError, ServiceError) as error:
        fail(_refusal(error, str(file)))
    if num_texts := len(adapter.metadata.examples):
        say(f"note: whoever sees {repo} can read the {num_texts} texts of the validation data that the file holds")
    say(f"{repo} has it: {published.url}")
    say(f"adakron pull {repo} --revision {published.commit} gets exactly this file")


def _settings(backbone: str | None) -> Settings:
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # read where the Hub's library is imported
    return settings_with(backbone=backbone)


def _refusal(error: Exception, what: str) -> str:
    return f"{what}: refused ({error.reason}): {error}" if isinstance(error, UploadRefused) else str(error)


def _digest_note(pulled: "Pulled") -> str:
    return "" if pulled.verified else " (neither the Hub nor the card gave a SHA-256 to compare with)"
