"""The time that a training still takes."""

import pytest

from service.train.fit.timing import Timing, clock


def steps(timing: Timing, count: int, start: float, each: float) -> float:
    """`count` steps from `start` on; the time after them."""
    for index in range(1, count + 1):
        timing.step(start + index * each)
    return start + count * each


def test_evaluations_count() -> None:
    """Steps of 1 s, with 8 s of evaluation and checkpoint after each 10: at step 20 of 100, 80 + 8 * 8 s are left."""
    timing = Timing(total_steps=100, evaluate_every=10, evaluation_batches=30)
    now = 0.0
    timing.begin(now)
    for _ in range(2):
        now = steps(timing, 10, now, 1.0)
        timing.evaluation(now := now + 5)
        timing.checkpoint(now := now + 3)
    assert timing.left_s(20) == pytest.approx(80 + 8 * 8)
    assert timing.steps_per_s == pytest.approx(1.0)
    assert timing.left_s(100) == 0


def test_before_the_first_evaluation_it_is_guessed_by_its_size() -> None:
    """A forward takes about a third of a step."""
    timing = Timing(total_steps=20, evaluate_every=10, evaluation_batches=30)
    timing.begin(0.0)
    steps(timing, 5, 0.0, 1.0)
    assert timing.left_s(5) == pytest.approx(15 + 2 * 10)


def test_the_last_evaluation_may_be_out_of_turn() -> None:
    """Training ends with an evaluation, whatever its step."""
    timing = Timing(total_steps=25, evaluate_every=10, evaluation_batches=3)
    timing.begin(0.0)
    steps(timing, 5, 0.0, 1.0)
    assert timing.left_s(5) == pytest.approx(20 + 3)
    assert timing.left_s(25) == 0


def test_only_the_steps_left_are_counted_after_a_resume() -> None:
    """From step 900 of 1000, at 2 s a step; passing over the rows before, which took 60 s, is no step."""
    timing = Timing(total_steps=1000, evaluate_every=1000, evaluation_batches=0)
    timing.begin(60.0)
    steps(timing, 10, 60.0, 2.0)
    assert timing.left_s(910) == pytest.approx(90 * 2.0)


def test_it_follows_a_machine_that_becomes_slower() -> None:
    """Only the last hundred steps count."""
    timing = Timing(total_steps=1000, evaluate_every=1000, evaluation_batches=0)
    timing.begin(0.0)
    now = steps(timing, 100, 0.0, 1.0)
    steps(timing, 100, now, 4.0)
    assert timing.left_s(200) == pytest.approx(800 * 4.0)


def test_nothing_is_known_before_the_first_step() -> None:
    """Then there is neither speed nor time."""
    timing = Timing(10, 10, 1)
    assert timing.steps_per_s is None
    assert timing.left_s(0) is None


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, "-:--"), (0.4, "0:00"), (75, "1:15"), (3599.6, "1:00:00"), (90061, "25:01:01")]
)
def test_clock(seconds: float | None, shown: str) -> None:
    """Minutes and seconds, with hours where there are any."""
    assert clock(seconds) == shown
