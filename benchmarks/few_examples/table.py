"""Lines of results -> a table in Markdown: for each set and size the mean score of each contender, and its time."""

from collections import defaultdict
from collections.abc import Sequence
from math import sqrt
from statistics import mean, stdev
from typing import Any

Line = dict[str, Any]


def make_table(lines: Sequence[Line]) -> str:
    """Make the table: the mean score over draws with its standard error, and the mean seconds.

    Scores within one standard error of the row's best are bold.
    """
    cells: dict[tuple[str, str], dict[str, list[Line]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        cells[line["origin"], line["size"]][line["contender"]].append(line)
    names = list(dict.fromkeys(line["contender"] for line in lines))
    table = ["| data | rows | draws | " + " | ".join(names) + " |", "| --- " * (len(names) + 3) + "|"]
    for (origin, size), found in cells.items():
        best = max(found, key=lambda name: _mean(found[name]))
        least = _mean(found[best]) - _error(found[best])
        draws = min(len(item) for item in found.values())
        shown = [_cell(found[name], least) if name in found else "-" for name in names]
        table.append(f"| {origin} | {size} | {draws} | " + " | ".join(shown) + " |")
    return "\n".join(table)


def _cell(lines: Sequence[Line], least: float) -> str:
    score = f"{_mean(lines):.3f} ± {_error(lines):.3f}"
    seconds = mean(line["seconds"] for line in lines)
    return f"{f'**{score}**' if _mean(lines) >= least else score}, {seconds:.1f} s"


def _mean(lines: Sequence[Line]) -> float:
    return mean(line["score"] for line in lines)


def _error(lines: Sequence[Line]) -> float:
    """The standard error of the mean over draws; 0 of one draw."""
    return stdev(line["score"] for line in lines) / sqrt(len(lines)) if len(lines) > 1 else 0.0
