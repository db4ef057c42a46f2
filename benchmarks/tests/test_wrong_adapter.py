"""Every answer is that of the adapter that it names: a small run of the benchmark of that name."""

from pathlib import Path

import numpy as np
import pytest

from adapters.backbone.source import LoadedBackbone
from benchmarks.serving.wrong_adapter import Outcome, compare, measure


@pytest.mark.usefixtures("one_thread")
def test_no_answer_is_anothers(tiny: LoadedBackbone, tiny_folder: Path) -> None:
    """The answers of each digest are its own, under constant swaps and with room for only a few adapters."""
    outcome = measure(tiny, str(tiny_folder), num_predictions=600, num_adapters=40, room=4, swaps_per_s=20)
    assert outcome.statuses == {200: 600}
    assert outcome.num_wrong == 0
    assert outcome.num_loads > 40
    assert outcome.least_distance > 20


def test_another_adapters_answer_is_counted() -> None:
    """Each answer is compared with that of its own digest and text, within the tolerance."""
    expected = {
        "a": np.array([[0.0, 1.0], [5.0, 6.0]], np.float32),
        "b": np.array([[2.0, 3.0], [7.0, 8.0]], np.float32),
    }
    outcome = Outcome("tiny", 2, 1)
    outcome.answers += [("a", 0, [0.0, 1.0005]), ("b", 1, [7.0, 8.0]), ("a", 1, [7.0, 8.0]), ("b", 0, [2.0, 3.1])]
    compare(outcome, expected, 1e-3)
    assert (outcome.num_predictions, outcome.num_wrong, outcome.largest_difference) == (4, 2, 2.0)
