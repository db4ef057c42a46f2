"""Quote benchmarks/results/*.json in docs/performance.md, each between `<!-- NAME -->` and `<!-- /NAME -->`.

python -m benchmarks.quote
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS, cell

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
UNMEASURED = {  # stands in a block until there is a result
    "gpu": "No GPU has been measured yet. `make gpu` measures; `python -m benchmarks.quote` puts its tables here.\n"
}


def quoted(page: str, results: Path = RESULTS) -> str:
    """`page` with each of its blocks as the results say. Raises FileNotFoundError for a block without results.

    A block of UNMEASURED has its sentence instead.
    """

    def block(match: re.Match[str]) -> str:
        name = match.group(1)
        if name in UNMEASURED and not (results / f"{name}.json").exists():
            return f"<!-- {name} -->\n{UNMEASURED[name]}<!-- /{name} -->"
        return f"<!-- {name} -->\n{markdown(json.loads((results / f'{name}.json').read_text()))}<!-- /{name} -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- /\1 -->", block, page, flags=re.DOTALL)


def markdown(result: Mapping[str, Any]) -> str:
    """The table of a result, or its tables with their titles, its targets, and what it was measured on."""
    machine, lines = result["machine"], list[str]()
    if "tables" in result:
        for part in result["tables"]:
            lines += [f"**{part['title']}**", "", *_table(part["rows"]), ""]
        lines.pop()
    else:
        lines += _table(result["rows"])
    lines += [
        "",
        *(f"- {_verdict(target)}" for target in result["targets"]),
        *(f"- {note}" for note in result["notes"]),
    ]
    settings = ", ".join(f"{key} {value}" for key, value in result["settings"].items())
    gpu = f"{machine['gpu']}, driver {machine['driver']}; " if machine.get("gpu") else ""
    lines += ["", f"*{result['date']}, {gpu}{machine['cores']} cores of {machine['cpu']}; {settings}.*"]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    columns = list(rows[0])
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return lines + [f"| {' | '.join(cell(row[column]) for column in columns)} |" for row in rows]


def _verdict(target: Mapping[str, Any]) -> str:
    verdict = "Reached" if target["reached"] else "**Missed**"
    return f"{verdict}: {target['claim']}: {target['value']} (target: {target['target']})"


def main() -> None:
    """Rewrite the page."""
    PAGE.write_text(quoted(PAGE.read_text()))


if __name__ == "__main__":
    main()
