"""Every answer is that of the adapter that it names: a small run of the benchmark of that name."""

from pathlib import Path

import pytest

from adapters.backbone.source import LoadedBackbone
from benchmarks.serving.wrong_adapter import measure


@pytest.mark.usefixtures("one_thread")
def test_no_answer_is_anothers(tiny: LoadedBackbone, tiny_folder: Path) -> None:
    """The answers of each digest are its own, under constant swaps and with room for only a few adapters."""
    outcome = measure(tiny, str(tiny_folder), num_predictions=600, num_adapters=40, room=4, swaps_per_s=20)
    assert outcome.statuses == {200: 600}
    assert outcome.num_wrong == 0
    assert outcome.num_loads > 40
    assert outcome.least_distance > 20
