"""The choice of the best checkpoint, and the end of a training that no longer improves."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from service.train.fit.selection import SELECTION, TIE_BREAK, Patience, rank
from service.train.options import TrainOptions
from tests.support.trainings import train, write_rows


def test_the_score_decides_and_the_loss_breaks_ties() -> None:
    """A row of a million outweighs any loss; of equal scores the lower loss is better; no loss is like an endless."""
    assert rank(0.5 + 2e-6, 100.0) > rank(0.5, 0.001)
    assert rank(0.5, 0.1) > rank(0.5, 0.1 + 1e-8) > rank(0.5, 3.0) > rank(0.5, math.inf) == rank(0.5, math.nan)
    assert rank(0.5, 0.0) - rank(0.5, math.inf) == pytest.approx(TIE_BREAK)


def stops_at(scores: list[tuple[float, float]], patience: int, floor: float = 0.0) -> int | None:
    """The number of the evaluation, from 1, at which a training with these (score, loss) stops; None if it does not."""
    callback: Any = Patience(patience, metric="accuracy", floor=floor)
    args = SimpleNamespace(metric_for_best_model=SELECTION, greater_is_better=True)
    state, control = SimpleNamespace(best_metric=None), SimpleNamespace(should_training_stop=False)
    for number, (score, loss) in enumerate(scores, start=1):
        ranked = rank(score, loss)
        callback.on_evaluate(args, state, control, {"eval_accuracy": score, f"eval_{SELECTION}": ranked})
        if control.should_training_stop:
            return number
        state.best_metric = max(ranked, state.best_metric if state.best_metric is not None else -math.inf)
        # a checkpoint keeps the callback
        stored = callback.state()
        callback = Patience(**stored["args"])
        for name, value in stored["attributes"].items():
            setattr(callback, name, value)
    return None


def test_patience_counts_evaluations_without_a_gain() -> None:
    """A lower loss at an equal score is a gain; an equal or higher loss is not; a checkpoint keeps the count."""
    falling = [(0.8, 1 / number) for number in range(1, 9)]
    assert stops_at(falling, patience=2) is None
    assert stops_at([(0.8, 0.5)] * 8, patience=2) == 3
    assert stops_at([(0.8, 0.5), (0.7, 0.1), (0.9, 0.9), (0.8, 0.1), (0.85, 0.1)], patience=2) == 5


def test_patience_does_not_count_at_the_floor() -> None:
    """A training that has not begun to learn goes on, however long; from its first gain on it counts."""
    assert stops_at([(0.0, 0.5)] * 8, patience=2) is None
    assert stops_at([(0.6, 0.5)] * 8, patience=2, floor=0.6) is None
    assert stops_at([(0.0, 0.5)] * 4 + [(0.2, 0.4)] + [(0.2, 0.5)] * 2, patience=2) == 7


@pytest.mark.usefixtures("one_thread")
def test_rare_labels_do_not_end_a_training(options: TrainOptions, tmp_path: Path) -> None:
    """With micro F1 0 in every epoch, a multi-label training runs to its end; the last checkpoint is the best."""
    rows = iter(range(1000))

    def rare(_: Any) -> dict[str, Any]:
        number = next(rows)
        return {"text": "the house", "labels": ["red"] if number % 10 == 0 else ["blue"] if number % 10 == 1 else []}

    file = write_rows(tmp_path / "rare.jsonl", rare, 60, seed=0)
    result = train(options.change(train=file, validation=file, epochs=3, patience=1))
    assert result.metrics["micro_f1"] == 0
    assert result.epochs == 3
