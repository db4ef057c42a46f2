"""`adakron backup` and `adakron restore`: they work on the registry's database itself, beside running servers."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from service.commands.options import settings_with
from service.commands.terminal import fail, say
from service.errors import ServiceError

DAMAGED = 3  # exit code: done, but adapters are damaged

Registry = Annotated[
    str | None, typer.Option("--registry", help="URL of the registry; by default that of the settings.")
]


def backup(
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    registry: Registry = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Copy the registry into one file, while servers use it (exit code 3: done, but adapters are damaged)."""
    settings = settings_with(registry_url=registry)
    from service.registry.backup import back_up  # imports torch

    started = time.monotonic()
    try:
        summary = back_up(settings.resolved_registry_url, file, replace=force)
    except ServiceError as error:
        fail(str(error))
    counts = f"{summary.num_tasks} tasks, {summary.num_versions} versions, {summary.num_bytes:,} bytes"
    _end(f"{file}: {counts}, in {time.monotonic() - started:.1f} s", summary.damaged)


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `adakron backup` wrote.")],
    registry: Registry = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Make the registry what it was then, while servers use it (exit code 3: done, but adapters are damaged)."""
    settings = settings_with(registry_url=registry)
    if not yes and not sys.stdin.isatty():
        fail("there is no terminal to ask on: --yes restores without a question")
    from service.registry.backup import checked_backup, published_at, published_in  # imports torch
    from service.registry.backup import restore as put_back

    url = settings.resolved_registry_url
    started = time.monotonic()
    try:
        with checked_backup(file) as backup:
            if not yes:
                now, then = published_at(url), published_in(backup.connection)
                when = f"{backup.last_change:%Y-%m-%d %H:%M} UTC" if backup.last_change else "never"
                say(f"The backup has {_count(then)}; it was last changed {when}.")
                say(f"The registry has {_count(now)}; the backup lacks {len(now - then)} of these, and they go.")
                if not typer.confirm("Restore it?"):
                    fail("nothing was changed")
                started = time.monotonic()
            summary = put_back(url, backup, grace_s=1 + settings.registry_poll_s)
    except ServiceError as error:
        fail(str(error))
    counts = f"{_count(summary.published)}, {backup.num_bytes:,} bytes"
    _end(f"{file}: restored {counts}, in {time.monotonic() - started:.1f} s", summary.quarantined)


def _count(published: frozenset[tuple[str, int, str]]) -> str:
    return f"{len({task for task, _, _ in published})} tasks, {len(published)} versions"


def _end(summary: str, damaged: tuple[str, ...]) -> None:
    say(summary)
    if damaged:
        message = f"damaged, and in quarantine until their files are published again: {', '.join(damaged)}"
        typer.echo(message, err=True)
        raise typer.Exit(DAMAGED)
