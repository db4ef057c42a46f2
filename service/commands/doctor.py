"""`adakron doctor`: print the findings of service.doctor."""

import json
import os
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from service.commands.options import AsJson
from service.commands.terminal import console
from service.settings import read_settings

FAILED = 1  # exit code: at least one check failed
STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}


def doctor(
    url: Annotated[
        str | None, typer.Option("--url", envvar="ADAKRON_URL", help="Check this server, which must be running.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="As for `adakron serve`.")] = None,
    device: Annotated[str | None, typer.Option(help="As for `adakron serve`.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="As for `adakron serve`.")] = None,
    host: Annotated[str | None, typer.Option(help="As for `adakron serve`.")] = None,
    port: Annotated[int | None, typer.Option(help="As for `adakron serve`.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check the set-up and say what to fix, without changing anything (exit code 1: a check failed)."""
    from service.doctor.checks import run_checks
    from service.doctor.core import Setup

    given = {"backbone": backbone, "device": device, "data_dir": data_dir, "host": host, "port": port}
    reading = read_settings({name: value for name, value in given.items() if value is not None})
    found = []
    for name, finding in run_checks(Setup(reading.settings, reading.problems, dict(os.environ), url)):
        found.append({"check": name, **asdict(finding)})
        if not as_json:
            line = Text.assemble((f"{finding.status:8}", STYLES[finding.status]), f"{name:15}", finding.message)
            line.append(f" -> {finding.remedy}" if finding.remedy else "", style="bold")
            console.print(line, soft_wrap=True)
    counts = Counter(entry["status"] for entry in found)
    if as_json:
        print(json.dumps({"failed": counts["failed"], "warnings": counts["warning"], "checks": found}, indent=2))
    else:
        failed, warned = counts["failed"], counts["warning"]
        console.print(f"{len(found)} checks: {failed} failed, {warned} with a warning", highlight=False)
    if counts["failed"]:
        raise typer.Exit(FAILED)
