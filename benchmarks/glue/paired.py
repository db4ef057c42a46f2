"""Contenders beside one baseline: scores over the seeds, a paired test, and how many runs are missing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from statistics import mean, stdev

from scipy.stats import t

from benchmarks.glue.grid import Contender, Run
from benchmarks.glue.summary import Line

Scores = dict[int, float]  # by seed

ALL = "all"  # of the rows of all tasks together, whose scores have no common deviation


@dataclass(frozen=True)
class Paired:
    """A contender on one task, or on all of them together."""

    task: str
    name: str
    scores: tuple[float, ...]  # of the best candidate, a score for each seed
    differences: tuple[float, ...]  # from the baseline's best candidate, of the seeds that both have
    missing: int  # runs, of all candidates and wanted seeds


def compare(
    lines: Iterable[Line],
    baseline: Contender,
    contenders: Sequence[Contender],
    tasks: Sequence[str],
    seeds: Sequence[int],
) -> list[Paired]:
    """The contenders on each task, the baseline first, and then on all tasks together.

    A candidate counts if it has as many seeds as the candidate with the most; of these the best mean is the
    contender's, as is that of the baseline.
    """
    found = {Run.of(line): float(line["score"]) for line in lines}
    rows: list[Paired] = []
    others = [contender for contender in contenders if contender.name != baseline.name]
    for task in tasks:
        base, missing = _best(found, baseline, task, seeds)
        rows.append(Paired(task, baseline.name, tuple(base.values()), (), missing))
        for contender in others:
            own, missing = _best(found, contender, task, seeds)
            both = [seed for seed in own if seed in base]
            differences = tuple(own[seed] - base[seed] for seed in both)
            rows.append(Paired(task, contender.name, tuple(own.values()), differences, missing))
    for contender in (baseline, *others) if len(tasks) > 1 else ():
        own_rows = [row for row in rows if row.name == contender.name]
        scores, differences = (
            tuple(value for row in own_rows for value in getattr(row, name)) for name in ("scores", "differences")
        )
        rows.append(Paired(ALL, contender.name, scores, differences, sum(row.missing for row in own_rows)))
    return rows


def chance(differences: Sequence[float]) -> float | None:
    """The two-sided p of Student's paired t-test; None of fewer than two differences, or of equal ones."""
    if len(differences) < 2 or (deviation := stdev(differences)) == 0:
        return None
    value = mean(differences) / (deviation / sqrt(len(differences)))
    return float(2 * t.sf(abs(value), len(differences) - 1))


def make_table(rows: Sequence[Paired]) -> str:
    """The rows in Markdown."""
    table = ["| task | contender | seeds | score | beside the baseline | p | missing runs |", "| --- " * 7 + "|"]
    for row in rows:
        p = chance(row.differences)
        cells = (
            row.task,
            row.name,
            str(len(row.scores)),
            _spread(row.scores, "") if row.task != ALL or not row.scores else f"{mean(row.scores):.4f}",
            _spread(row.differences, "+"),
            "-" if p is None else f"{p:.3f}",
            str(row.missing),
        )
        table.append(f"| {' | '.join(cells)} |")
    return "\n".join(table)


def _best(found: dict[Run, float], contender: Contender, task: str, seeds: Sequence[int]) -> tuple[Scores, int]:
    candidates = []
    for candidate in contender.runs(task, 0):
        runs = {seed: replace(candidate, seed=seed) for seed in seeds}
        candidates.append({seed: found[run] for seed, run in runs.items() if run in found})
    most = max(map(len, candidates))
    missing = sum(len(seeds) - len(known) for known in candidates)
    full = [known for known in candidates if most and len(known) == most]
    return max(full, key=lambda known: mean(known.values()), default={}), missing


def _spread(values: Sequence[float], sign: str) -> str:
    if not values:
        return "-"
    spread = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
    return f"{mean(values):{sign}.4f}{spread}"
