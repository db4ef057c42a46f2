"""Every answer is that of the adapter that it names: a small run of the benchmark of that name."""

import copy
from pathlib import Path

import numpy as np
import pytest

from adapters.backbone.source import LoadedBackbone
from benchmarks.serving.own_answers import Outcome, compare, tell_apart
from benchmarks.serving.wrong_adapter import measure
from tests.support.invariance import BATCH_TOLERANCE, tolerance_of


@pytest.mark.usefixtures("one_thread")
def test_no_answer_is_anothers(tiny: LoadedBackbone, tiny_folder: Path) -> None:
    """The answers of each digest are its own, under constant swaps and with room for only a few adapters."""
    outcome = measure(tiny, str(tiny_folder), num_predictions=600, num_adapters=40, room=8, swaps_per_s=20)
    assert outcome.statuses == {200: 600}
    assert outcome.num_wrong == 0
    assert outcome.num_loads > 40
    assert outcome.num_alike == 0


def test_bits_are_compared_where_they_do_not_depend_on_the_batch(tiny: LoadedBackbone) -> None:
    """In C no other bit is an answer's own, whatever the type; an adapter that torch computes has a tolerance."""
    backbone = copy.deepcopy(tiny.backbone).pack()
    if not backbone.is_batch_invariant:
        pytest.skip("the kernels are not compiled (python hatch_build.py)")
    assert tolerance_of(backbone, 512) == 0
    assert tolerance_of(backbone, 513) == BATCH_TOLERANCE["cpu", backbone.dtype]
    assert tolerance_of(tiny.backbone, 512) == BATCH_TOLERANCE["cpu", backbone.dtype]


def test_another_adapters_answer_is_counted() -> None:
    """Each answer is compared with that of its own digest and text: bit by bit, or within the tolerance."""
    expected = {
        "a": np.array([[0.0, 1.0], [5.0, 6.0]], np.float32),
        "b": np.array([[2.0, 3.0], [7.0, 8.0]], np.float32),
    }
    answers = [("a", 0, [0.0, 1.0005]), ("b", 1, [7.0, 8.0]), ("a", 1, [7.0, 8.0]), ("b", 0, [2.0, 3.1])]
    for tolerance, rule, num_wrong in ((1e-3, "within 0.001", 2), (0.0, "the same bits", 3)):
        outcome = Outcome("tiny", 2, 1, tolerance=tolerance, answers=answers)
        compare(outcome, expected)
        assert (outcome.num_predictions, outcome.num_wrong, outcome.rule) == (4, num_wrong, rule)
        assert outcome.largest_difference == 2.0


def test_a_tolerance_wider_than_adapters_differ_is_counted() -> None:
    """The result says how many pairs of adapters a rule cannot tell apart, over all texts."""
    answers = np.array([[[0.0, 1.0], [5.0, 6.0]], [[0.0, 1.01], [5.0, 6.0]], [[2.0, 3.0], [5.0, 6.01]]], np.float32)
    for tolerance, num_alike in ((0.0, 1), (0.05, 4), (9.0, 6)):
        outcome = Outcome("tiny", 3, 1, tolerance=tolerance)
        tell_apart(outcome, answers)
        assert (outcome.num_alike, outcome.least_distance) == (num_alike, 0.0)


@pytest.mark.usefixtures("one_thread")
def test_no_answer_is_another_users(tiny: LoadedBackbone, tiny_folder: Path) -> None:
    """With 200 users of each task, under swaps and evictions, each gets the adapter of the own gate."""
    outcome = measure(
        tiny, str(tiny_folder), num_predictions=600, num_adapters=4, num_users=200, room=8, swaps_per_s=20
    )
    assert outcome.statuses == {200: 600}
    assert (outcome.num_wrong, outcome.num_wrong_gates) == (0, 0)
    assert outcome.num_loads > 300


def test_an_answer_by_the_wrong_gate_is_wrong() -> None:
    """An answer that names the mean gate for a user with a gate counts, even if its numbers were right."""
    outcome = Outcome("tiny", 1, 1, ["ann", "bob"])
    assert [outcome.gate(user) for user in ("ann", "eve", None)] == ["user", "mean", "mean"]
    assert [outcome.name("d", user) for user in ("ann", "eve", None)] == ["d ann", "d mean", "d mean"]
    outcome.answers, outcome.num_wrong_gates = [("d ann", 0, [1.0])], 1
    compare(outcome, {"d ann": np.array([[1.0]], np.float32)})
    assert outcome.num_wrong == 1
