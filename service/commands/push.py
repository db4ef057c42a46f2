"""`adakron push`: publish an adapter file on a running server or on the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

import typer

from adapters.errors import AdapterError
from adapters.gates import GatedAdapter
from service.client import AdaKronClient, Incompatible
from service.commands.alias import say_changes
from service.commands.options import (
    LOCAL,
    AdapterFile,
    AllowIncompatible,
    Key,
    Url,
    connect,
    given,
    hub_settings,
    refusal,
    require_name,
)
from service.commands.terminal import fail, say
from service.errors import InvalidInput, ServiceError

HUB = "To the Hugging Face Hub, instead of a server"


def push(
    context: typer.Context,
    task: Annotated[str, typer.Argument(help="Name by which clients will call it: a-z, 0-9 and -.")],
    file: AdapterFile,
    url: Url = LOCAL,
    key: Key = None,
    activate: Annotated[bool, typer.Option(help="Make it live at once.")] = True,
    allow_incompatible: AllowIncompatible = False,
    hub: Annotated[
        str | None,
        typer.Option(
            "--hub",
            metavar="OWNER/REPO",
            help="The model that receives it; a missing one is created.",
            rich_help_panel=HUB,
        ),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Hide a new model from other users.", rich_help_panel=HUB)
    ] = False,
    revision: Annotated[
        str | None,
        typer.Option("--revision", help="The branch, main by default; a missing one is created.", rich_help_panel=HUB),
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--license", metavar="ID", help="Licence on the card: mit ...", rich_help_panel=HUB)
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Push even if the model holds other files.", rich_help_panel=HUB)
    ] = False,
) -> None:
    """Publish an adapter file: on a running server, or with --hub on the Hugging Face Hub."""
    require_name("task", task)
    if hub is not None:
        if foreign := given(context, "url", "key", "activate", "allow_incompatible"):
            fail(f"{foreign}: for a server, which --hub does not use")
        push_to_hub(task, file, hub, private=private, revision=revision, licence=licence, force=force)
        return
    if foreign := given(context, "private", "revision", "licence", "force"):
        fail(f"{foreign}: only with --hub OWNER/REPO")
    with connect(url, key) as client:
        publish(client, task, file.read_bytes(), activate=activate, allow_incompatible=allow_incompatible)


def publish(
    client: AdaKronClient, task: str, data: bytes, *, activate: bool, allow_incompatible: bool, origin: str = ""
) -> None:
    """Upload a file to a server and print the outcome, after the text `origin`."""
    try:
        made = client.admin.upload(task, data, activate=activate, allow_incompatible=allow_incompatible)
    except Incompatible as error:
        version, changes = error.body["version"], error.body["changes"]
        fail(
            f"{task}@{version} is published but not live: it would break the clients of version {changes['live']}: "
            f"{'; '.join(changes['breaking'])}; adakron activate {task} {version} --allow-incompatible makes it live"
        )
    version = f"{made.task}@{made.version}"
    state = "live" if made.live else "not live (adakron activate makes it live)"
    say(f"{origin}{version} is {state}; digest {made.digest}")
    say_changes(version, made.changes)


def push_to_hub(
    task: str, file: Path, repo: str, *, private: bool, revision: str | None, licence: str | None, force: bool
) -> None:
    """Check a file as an upload is checked, write its card, and push both to the Hub in one commit."""
    settings = hub_settings(None)
    num_bytes = file.stat().st_size
    if num_bytes > settings.max_upload_bytes:
        fail(f"{file} has {num_bytes:,} bytes; the limit is {settings.max_upload_bytes:,} (ADAKRON_MAX_UPLOAD_BYTES)")
    from service.hub.card import make_card  # the Hub's library takes a second to import
    from service.hub.repository import Repository

    data = file.read_bytes()
    try:
        repository = Repository(repo)
        repository.require_access()
        from service.publishing.checks import check_file  # imports torch

        adapter = check_file(data, settings)
        if isinstance(adapter, GatedAdapter):
            raise InvalidInput(f"{file} holds the gates of {len(adapter.gates.digests):,} keys, which stay off the Hub")
        card = make_card(adapter, task, repo, licence=licence)
        published = repository.push(data, card, private=private, revision=revision, force=force)
    except (AdapterError, ServiceError) as error:
        fail(refusal(error, str(file)))
    if num_texts := len(adapter.metadata.examples):
        say(f"note: readers of {repo} can read the {num_texts} texts of the validation data that the file holds")
    say(f"{repo} has it: {published.url}")
    say(f"adakron pull {repo} --revision {published.commit} gets exactly this file")
