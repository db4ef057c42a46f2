"""The report of a benchmark: a table, targets reached or missed, and JSON in benchmarks/results."""

import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from service.processes.cgroups import num_cores

RESULTS = Path(__file__).parent / "results"
Row = Mapping[str, object]


@dataclass(frozen=True)
class Target:
    """A claim with its target, and the measured value."""

    claim: str
    value: float
    kind: Literal["at least", "at most"]
    limit: float

    @property
    def reached(self) -> bool:
        """Whether the target is reached; never for nan."""
        return self.value >= self.limit if self.kind == "at least" else self.value <= self.limit


def report(name: str, settings: Row, rows: Sequence[Row], targets: Sequence[Target], notes: Sequence[str] = ()) -> None:
    """Print, and write results/NAME.json."""
    print(f"{name}: {', '.join(f'{key} {value}' for key, value in settings.items())}\n")
    print_table(rows)
    for note in notes:
        print(note)
    for target in targets:
        verdict = "reached" if target.reached else "MISSED"
        print(f"{verdict}: {target.claim}: {target.value:.4g} (target {target.kind} {target.limit:g})")
    result = {
        "machine": machine(),
        "date": date.today().isoformat(),
        "versions": {package: version(package) for package in ("adakron-serve", "torch", "transformers", "uvicorn")},
        "settings": dict(settings),
        "rows": [{column: rounded(value) for column, value in row.items()} for row in rows],
        "notes": list(notes),
        "targets": [
            {
                "claim": target.claim,
                "value": rounded(target.value),
                "target": f"{target.kind} {target.limit:g}",
                "reached": target.reached,
            }
            for target in targets
        ],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")


def print_table(rows: Sequence[Row]) -> None:
    """The rows under the names of the first one's columns, numbers to the right."""
    columns = list(rows[0])
    cells = [columns, *([cell(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    numeric = [any(isinstance(row[column], int | float) for row in rows) for column in columns]
    for line in cells:
        shown = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        )
        print("  ".join(shown).rstrip())
    print()


def machine() -> dict[str, object]:
    """Describe this machine."""
    models = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory_kib = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": num_cores(),
        "memory_gib": round(memory_kib / 2**20, 1),
        "python": platform.python_version(),
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def cell(value: object) -> str:
    """Format a value for a table."""
    if value is None or value != value:  # nan
        return "-"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def rounded(value: object) -> object:
    """Round a float to four digits, of which there may be more than are true; JSON has no nan."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.4g}") if math.isfinite(value) else None
