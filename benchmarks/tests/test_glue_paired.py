"""The paired comparison: same seeds, one candidate each, Student's test, and what is missing."""

from dataclasses import asdict, replace
from typing import Any

import pytest
from scipy.stats import ttest_rel

from benchmarks.glue.grid import Contender
from benchmarks.glue.paired import chance, compare, make_table

A = Contender("a", "adakron", {}, rates=(1e-3, 2e-3))
B = Contender("b", "pfeiffer", {}, rates=(1e-3,))
SEEDS = (1, 2, 3)


def lines(contender: Contender, task: str, scores: dict[float, dict[int, float]]) -> list[dict[str, Any]]:
    """Lines with the scores by rate and seed."""
    by_rate = {run.learning_rate: run for run in contender.runs(task, 0)}
    return [
        asdict(replace(by_rate[rate], seed=seed)) | {"score": score}
        for rate, found in scores.items()
        for seed, score in found.items()
    ]


def test_the_differences_are_those_of_the_same_seeds() -> None:
    """A candidate with fewer seeds does not count; p is scipy's; runs without a line are counted."""
    known = lines(B, "rte", {1e-3: {1: 0.5, 2: 0.6, 3: 0.55}})
    known += lines(A, "rte", {1e-3: {1: 0.9}, 2e-3: {1: 0.6, 2: 0.65, 3: 0.7}})
    base, own = compare(known, B, [A, B], ["rte"], SEEDS)
    assert (base.name, base.missing, base.differences) == ("b", 0, ())
    assert own.scores == (0.6, 0.65, 0.7)
    assert own.differences == pytest.approx((0.1, 0.05, 0.15))
    assert own.missing == 2
    assert chance(own.differences) == pytest.approx(ttest_rel((0.6, 0.65, 0.7), (0.5, 0.6, 0.55)).pvalue)


def test_tasks_are_pooled_at_the_end() -> None:
    """The last rows hold the pairs of all tasks; a task without lines has none."""
    known = lines(B, "rte", {1e-3: {1: 0.5, 2: 0.6}}) + lines(A, "rte", {1e-3: {1: 0.6, 2: 0.8}})
    known += lines(B, "cola", {1e-3: {1: 0.2}}) + lines(A, "cola", {1e-3: {1: 0.3}})
    rows = compare(known, B, [A], ["rte", "cola", "mrpc"], SEEDS)
    pooled = rows[-1]
    assert (pooled.task, pooled.name) == ("all", "a")
    assert pooled.differences == pytest.approx((0.1, 0.2, 0.1))
    assert pooled.missing == 4 + 5 + 6
    table = make_table(rows)
    assert "| all | a | 3 | 0.5667 | +0.1333 ± 0.0577 |" in table
    assert "| mrpc | a | 0 | - | - | - | 6 |" in table
    assert "| rte | a | 2 | 0.7000 ± 0.1414 | +0.1500 ± 0.0707 | 0.205 | 4 |" in table


def test_too_few_differences_have_no_p() -> None:
    """One difference, or equal ones, say nothing about chance."""
    assert chance(()) is None
    assert chance((0.1,)) is None
    assert chance((0.1, 0.1)) is None
