"""The adapter's score beside the probe's, and the findings in words."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from adapters.config import TaskSpec
from service.train.evaluation.comparison import MIN_SUPPORT, Comparison, compare

TASK = TaskSpec(type="single_label", labels=("a", "b", "c"), pair=False, pooling="mean", max_length=64)
GOOD = Comparison(
    name="adapter",
    metric="accuracy",
    score=0.784,
    probe=0.759,
    num_rows=50,
    low=0.65,
    high=0.88,
    chance=0.4,
    num_labels=3,
)


def test_one_line_has_both_scores_and_the_interval() -> None:
    """Scores, rows and interval; no finding where the adapter is better."""
    assert GOOD.describe() == "adapter 0.784, probe 0.759, n = 50, 95 % interval 0.65 to 0.88"
    assert GOOD.findings() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"score": 0.759}, "The adapter is not better than the probe"),
        ({"score": 0.7, "name": "model"}, "The model is not better than the probe"),
        ({"score": 0.759, "holds_probe": True}, "so the adapter holds the probe"),
        ({"score": 0.4, "probe": 0.3}, "The adapter is at chance: a constant answer has accuracy 0.400"),
        ({"unpredicted": ("b",)}, "The adapter never predicts 'b' (1 of 3 labels)"),
        ({"unpredicted": tuple("abcdefg"), "num_labels": 9}, "predicts 'a', 'b', 'c', 'd', 'e' ... (7 of 9 labels)"),
    ],
)
def test_findings(changes: dict[str, object], said: str) -> None:
    """Each fault has its sentence, and only that."""
    (finding,) = replace(GOOD, **changes).findings()  # type: ignore[arg-type]  # of several types
    assert said in finding


def test_rows_become_a_comparison() -> None:
    """Scores of both on the same rows, the constant's, and a label with enough rows that is never predicted."""
    targets = np.repeat([0, 1, 2], [10, MIN_SUPPORT, MIN_SUPPORT - 1])
    eye = np.eye(3)
    logits = eye[np.where(targets == 1, 0, np.where(targets == 2, 0, targets))]
    found = compare(TASK, "accuracy", logits, eye[targets], targets, seed=0)
    assert found.score == found.chance == pytest.approx(10 / 19)
    assert found.probe == 1.0
    assert found.low < found.score < found.high
    assert found.unpredicted == ("b",)
    assert found.findings()[0].startswith("The adapter is at chance")


def test_labels_of_a_multi_label_task() -> None:
    """A label is predicted where its logit is at least 0."""
    task = TASK.model_copy(update={"type": "multi_label"})
    targets = np.tile([1.0, 1.0, 0.0], (8, 1)).astype(np.float32)
    logits = np.tile([2.0, -1.0, -1.0], (8, 1))
    found = compare(task, "micro_f1", logits, logits, targets, seed=0)
    assert found.unpredicted == ("b",)
    assert found.score == found.probe == pytest.approx(2 / 3)


def test_numbers_have_no_labels() -> None:
    """A regression is compared by its correlation; at chance it is 0."""
    task = TASK.model_copy(update={"type": "regression", "labels": ()})
    truth = np.arange(20.0)
    found = compare(task, "pearson", truth[:, None], -truth[:, None], truth, seed=0)
    assert (found.score, found.probe, found.chance) == pytest.approx((1.0, -1.0, 0.0))
    assert found.findings() == []


def test_it_survives_the_file_of_results() -> None:
    """result.json holds it; a file of an earlier version has none."""
    stored = json.loads(json.dumps(asdict(replace(GOOD, unpredicted=("b",)))))
    assert Comparison.read(stored) == replace(GOOD, unpredicted=("b",))
    assert Comparison.read(None) is None
