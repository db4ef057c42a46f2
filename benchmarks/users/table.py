"""Lines of results -> a table in Markdown: accuracy by rows a user, and the share of the way to an adapter per user."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

Line = dict[str, Any]
NAMES = {
    "shared": "one adapter for all users",
    "gated": "a gate for each user",
    "mean": "unknown users: the mean gate",
    "adapted": "unknown users: an adapted gate",
    "own": "an adapter for each user",
}


def make_table(lines: Sequence[Line]) -> str:
    """Make the table; the annotators are made, and the caption says so.

    `own` and the goal are means over the users who have their own adapter. The last row compares only those users:
    (gated - shared) / (goal - shared), the share of the way from the shared adapter to one per user with 1,000 rows.
    """
    if not lines:
        return "no results yet"
    scores: dict[tuple[str, int], list[float]] = defaultdict(list)
    for line in lines:
        if line["contender"] != "ceiling":
            scores[line["contender"], line["rows"]].append(line["accuracy"])
        if line["contender"] == "adapted":
            scores["mean", line["rows"]].append(line["mean_gate"])
    columns = sorted({rows for _, rows in scores})
    goal = {line["user"]: line["accuracy"] for line in lines if line["contender"] == "ceiling"}
    users = max(line["users"] for line in lines)
    table = [
        f"{users} made annotators of STS-B; accuracy, mean over users",
        "",
        "| | " + " | ".join(f"{rows} rows a user" for rows in columns) + " |",
        "| --- " * (len(columns) + 1) + "|",
    ]
    for name, caption in NAMES.items():
        found = [scores.get((name, rows)) for rows in columns]
        if any(found):
            table.append(f"| {caption} | " + " | ".join(f"{fmean(cell):.3f}" if cell else "-" for cell in found) + " |")
    if goal:
        table.append(
            f"| goal: an adapter for each of {len(goal)} users, 1,000 rows | " + _same(fmean(goal.values()), columns)
        )
        table.append("| way from shared to the goal, same users | " + _ways(lines, goal, columns))
    return "\n".join(table)


def _same(value: float, columns: Sequence[int]) -> str:
    return " | ".join(f"{value:.3f}" for _ in columns) + " |"


def _ways(lines: Sequence[Line], goal: dict[str, float], columns: Sequence[int]) -> str:
    best = fmean(goal.values())
    cells = []
    for rows in columns:
        found = {
            line["contender"]: fmean(line["by_user"][user] for user in goal)
            for line in lines
            if line["contender"] in ("shared", "gated") and line["rows"] == rows and set(goal) <= set(line["by_user"])
        }
        known = len(found) == 2 and best > found["shared"]
        cells.append(f"{(found['gated'] - found['shared']) / (best - found['shared']):.0%}" if known else "-")
    return " | ".join(cells) + " |"
