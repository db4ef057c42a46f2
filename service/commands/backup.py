"""`adakron backup` and `adakron restore`: copy the registry's database while servers use it."""

import time
from pathlib import Path
from typing import Annotated

import typer

from service.commands.options import Force, Yes, settings_with
from service.commands.terminal import confirm, fail, require_terminal, say, warn
from service.errors import ServiceError

DAMAGED = 3  # exit code: completed, but adapters are damaged
QUESTION = "Restore the backup?"

Registry = Annotated[
    str | None, typer.Option("--registry", help="URL of the registry; by default ADAKRON_REGISTRY_URL.")
]


def backup(
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    registry: Registry = None,
    force: Force = False,
) -> None:
    """Copy the registry into one file while servers use it (exit code 3: completed, but adapters are damaged)."""
    settings = settings_with(registry_url=registry)
    from service.registry.backup import export_registry  # imports torch

    started = time.monotonic()
    try:
        summary = export_registry(settings.resolved_registry_url, file, replace=force)
    except ServiceError as error:
        fail(str(error))
    counts = f"{summary.num_tasks} tasks, {summary.num_versions} versions, {summary.num_bytes:,} bytes"
    _end(f"{file}: {counts}, in {time.monotonic() - started:.1f} s", summary.damaged)


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `adakron backup` wrote.")],
    registry: Registry = None,
    yes: Yes = False,
) -> None:
    """Restore the registry while servers use it (exit code 3: completed, but adapters are damaged)."""
    settings = settings_with(registry_url=registry)
    require_terminal(QUESTION, yes)
    from service.registry.backup import published_at, published_in, restore_backup, verified_backup  # imports torch

    url = settings.resolved_registry_url
    started = time.monotonic()
    try:
        with verified_backup(file) as backup:
            if not yes:
                now, then = published_at(url), published_in(backup.connection)
                when = f"{backup.last_change:%Y-%m-%d %H:%M} UTC" if backup.last_change else "never"
                say(f"The backup has {_count(then)}; it was last changed {when}.")
                lost = len(now - then)
                say(f"The registry has {_count(now)}; {lost} of these are not in the backup and will be lost.")
                confirm(QUESTION, yes)
                started = time.monotonic()
            summary = restore_backup(url, backup, grace_s=1 + settings.registry_poll_s)
    except ServiceError as error:
        fail(str(error))
    counts = f"{_count(summary.published)}, {backup.num_bytes:,} bytes"
    _end(f"{file}: restored {counts}, in {time.monotonic() - started:.1f} s", summary.quarantined)


def _count(published: frozenset[tuple[str, int, str]]) -> str:
    return f"{len({task for task, _, _ in published})} tasks, {len(published)} versions"


def _end(summary: str, damaged: tuple[str, ...]) -> None:
    say(summary)
    if damaged:
        warn(f"damaged, in quarantine until their files are published again: {', '.join(damaged)}")
        raise typer.Exit(DAMAGED)
