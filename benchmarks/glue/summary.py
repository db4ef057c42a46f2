"""Lines of results -> the rows of docs/method.md: for each contender and task the best candidate's mean and spread."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev
from typing import Any

from benchmarks.glue.grid import Contender, Run

Line = dict[str, Any]


@dataclass(frozen=True)
class Score:
    """The scores of the candidate with the best mean over the seeds."""

    run: Run  # the candidate, with any of its seeds
    mean: float
    spread: float | None  # standard deviation over seeds; None of one seed
    num_seeds: int
    num_candidates: int  # that it was chosen from
    averaged: float | None  # mean score of the average of the last weights, same candidate


@dataclass(frozen=True)
class Row:
    """A contender's scores by task."""

    name: str
    parameters: int
    scores: dict[str, Score]

    def mean(self, tasks: Sequence[str]) -> float | None:
        """Return the mean over the tasks; None if one is missing."""
        return mean(self.scores[task].mean for task in tasks) if all(task in self.scores for task in tasks) else None


def summarise(
    lines: Iterable[Line], contenders: Sequence[Contender], tasks: Sequence[str], epochs: int | None = None
) -> list[Row]:
    """A row for each contender that has lines, of `epochs` or the task's own number.

    On each task the seeds count that all contenders have.
    """
    by_run = {Run.of(line): line for line in lines}
    found: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for task in tasks:
        for contender in contenders:
            wanted = {_without_seed(run) for run in contender.runs(task, 0, epochs)}
            runs = [run for run in by_run if run.task == task and _without_seed(run) in wanted]
            if runs:
                found[contender.name][task] = runs
    rows = []
    for contender in contenders:
        scores = {}
        for task, runs in found[contender.name].items():
            everyone = [{run.seed for run in other[task]} for other in found.values() if task in other]
            scores[task] = _best(runs, set.intersection(*everyone), by_run)
        if scores:
            some = by_run[next(iter(scores.values())).run]
            rows.append(Row(contender.name, int(some["parameters"]), scores))
    return rows


def _without_seed(run: Run) -> Run:
    return replace(run, seed=0)


def _best(runs: Sequence[Run], seeds: set[int], by_run: dict[Run, Line]) -> Score:
    by_candidate: dict[Run, list[Run]] = defaultdict(list)
    for run in runs:
        if run.seed in seeds:
            by_candidate[_without_seed(run)].append(run)
    full = [members for members in by_candidate.values() if len(members) == len(seeds)]
    best = max(full, key=lambda members: mean(by_run[run]["score"] for run in members))
    scores = [by_run[run]["score"] for run in best]
    averaged = [by_run[run]["averaged"] for run in best]
    return Score(
        run=best[0],
        mean=mean(scores),
        spread=stdev(scores) if len(scores) > 1 else None,
        num_seeds=len(scores),
        num_candidates=len(full),
        averaged=None if None in averaged else mean(averaged),
    )
