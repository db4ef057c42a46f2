"""Findings of a step: rows, targets and notes, each written to a file at once, so that a step's end loses nothing."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.report import Target, rounded


@dataclass
class Findings:
    """The findings read from a step's file."""

    rows: list[dict[str, object]] = field(default_factory=list)
    targets: list[dict[str, object]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """The claims that must hold and do not."""
        return [f"{one['claim']}: {one['value']}" for one in self.targets if one["required"] and not one["reached"]]


class Recorder:
    """Appends to a step's file and prints."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def row(self, **cells: object) -> None:
        """Record a row of the step's table; all rows of a step have the same columns."""
        self._write("rows", {column.replace("_", " "): rounded(value) for column, value in cells.items()})

    def note(self, text: str) -> None:
        """Record a sentence, for example why something was left out."""
        self._write("notes", text)

    def target(self, target: Target, *, required: bool = False) -> None:
        """Record a target and its value; the step fails if a required one is missed."""
        described = {
            "claim": target.claim,
            "value": rounded(target.value),
            "target": f"{target.kind} {target.limit:g}",
            "reached": target.reached,
            "required": required,
        }
        self._write("targets", described)

    def _write(self, kind: str, value: object) -> None:
        line = json.dumps({kind: value})
        print(line, flush=True)
        with self._file.open("a") as file:
            file.write(line + "\n")


def read_findings(file: Path) -> Findings:
    """Read the findings of a step that may have ended at any time; a half-written last line is left out."""
    found = Findings()
    for line in file.read_text().splitlines(keepends=True) if file.exists() else []:
        if line.endswith("\n"):
            ((kind, value),) = json.loads(line).items()
            getattr(found, kind).append(value)
    return found
