"""The analysis of the validation rows: scores by class, confusion, mistakes, probabilities."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_fscore_support

from service.train.evaluation.analysis import NUM_MISTAKES, analyse
from service.train.evaluation.metrics import compute_metrics

LABELS = ("a", "b", "c")


def test_figures_of_classes_are_those_of_scikit_learn() -> None:
    """Precision, recall, F1 and support of each class; one that neither occurs nor is predicted has no F1."""
    drawn = np.random.default_rng(0)
    logits, targets = drawn.normal(size=(200, 4)), drawn.integers(0, 3, 200)
    logits[:, 3] = -9  # never predicted
    analysis = analyse(logits, targets, "single_label", (*LABELS, "never"))
    expected = precision_recall_fscore_support(targets, logits.argmax(axis=1), labels=range(4), zero_division=0.0)
    found = [(item.precision, item.recall, item.f1 or 0.0, item.support) for item in analysis.classes]
    assert [item.f1 is None for item in analysis.classes] == [False, False, False, True]
    np.testing.assert_allclose(found, np.transpose(expected))
    assert [item.name for item in analysis.classes] == ["a", "b", "c", "never"]


@pytest.mark.parametrize("num_labels", [1, 3])
def test_figures_of_labels_are_those_of_scikit_learn(num_labels: int) -> None:
    """A label is predicted where its logit is at least 0; one label alone is counted like several."""
    drawn = np.random.default_rng(0)
    logits, targets = drawn.normal(size=(100, num_labels)), drawn.integers(0, 2, (100, num_labels))
    analysis = analyse(logits, targets.astype(np.float32), "multi_label", LABELS[:num_labels])
    for index, item in enumerate(analysis.classes):
        precision, recall, f1, _ = precision_recall_fscore_support(
            targets[:, index], logits[:, index] >= 0, average="binary"
        )
        assert (item.precision, item.recall, item.f1) == pytest.approx((precision, recall, f1))
        assert item.support == targets[:, index].sum()
    assert analysis.most_confused(5) == []


@pytest.mark.parametrize("task_type", ["single_label", "multi_label"])
def test_one_definition_of_macro_f1(task_type: Any) -> None:
    """The score, the mean of the classes' figures, and scikit-learn's over the labels in truth or predictions."""
    drawn = np.random.default_rng(1)
    logits, targets = drawn.normal(size=(40, 5)), drawn.integers(0, 3, 40)
    logits[:, 4] = -9  # never predicted, and never true; 3 is predicted, and never true
    truth: np.ndarray = np.eye(5)[targets] if task_type == "multi_label" else targets
    score = compute_metrics(logits, truth, task_type)["f1"]
    classes = analyse(logits, truth, task_type, tuple("abcde")).classes
    assert score == pytest.approx(np.mean([item.f1 for item in classes if item.f1 is not None]))
    assert [item.f1 is None for item in classes] == [False] * 4 + [True]
    if task_type == "single_label":
        expected = f1_score(targets, logits.argmax(axis=1), average="macro", zero_division=0.0)
    else:
        expected = f1_score(truth, logits >= 0, labels=range(4), average="macro", zero_division=0.0)
    assert score == pytest.approx(expected)


def test_confusion_and_the_pairs_confused_most() -> None:
    """Truth down, predicted across; the pairs come in order of rows, and only those that occur."""
    predicted = np.array([0, 0, 1, 1, 1, 2, 0])
    targets = np.array([0, 0, 0, 0, 1, 1, 2])
    analysis = analyse(np.eye(3)[predicted], targets, "single_label", LABELS)
    assert analysis.confusion.tolist() == [[2, 2, 0], [0, 1, 1], [1, 0, 0]]
    assert analysis.most_confused(10) == [("a", "b", 2, 0.5), ("b", "c", 1, 0.5), ("c", "a", 1, 1.0)]
    assert analysis.most_confused(1) == [("a", "b", 2, 0.5)]


def test_the_worst_mistakes_of_classes() -> None:
    """Wrong rows only, in order of their loss, with the probabilities of what is true and of what was said."""
    logits = np.log([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.05, 0.95]])
    analysis = analyse(logits, np.array([0, 0, 1, 0]), "single_label", LABELS[:2])
    assert [item.row for item in analysis.mistakes] == [3, 1, 2]
    assert analysis.num_mistakes == 3
    worst = analysis.mistakes[0]
    assert worst.loss == pytest.approx(-np.log(0.05))
    assert [(item.name, item.probability) for item in worst.truth] == [("a", pytest.approx(0.05))]
    assert [(item.name, item.probability) for item in worst.predicted] == [("b", pytest.approx(0.95))]


def test_only_some_mistakes_are_kept() -> None:
    """All are counted."""
    analysis = analyse(np.tile([1.0, 0.0], (50, 1)), np.ones(50, dtype=int), "single_label", LABELS[:2])
    assert len(analysis.mistakes) == NUM_MISTAKES
    assert analysis.num_mistakes == 50


def test_mistakes_of_several_labels_name_the_missed_and_the_wrong() -> None:
    """The labels that are right are left out."""
    logits = np.array([[5.0, -5.0, -5.0], [5.0, 2.0, -1.0]])
    analysis = analyse(logits, np.array([[1, 0, 0], [1, 0, 1]]), "multi_label", LABELS)
    (mistake,) = analysis.mistakes
    assert (mistake.row, [item.name for item in mistake.truth], [item.name for item in mistake.predicted]) == (
        1,
        ["c"],
        ["b"],
    )
    assert mistake.truth[0].probability == pytest.approx(1 / (1 + np.e))


def test_a_regression_has_points_and_errors() -> None:
    """The greatest error comes first; there are no classes and no probabilities."""
    analysis = analyse(np.array([[1.0], [5.0], [2.5]]), np.array([1.0, 2.0, 3.0]), "regression", ())
    assert analysis.points.tolist() == [[1, 1], [2, 5], [3, 2.5]]
    assert [(item.row, item.loss) for item in analysis.mistakes] == [(1, 3.0), (2, 0.5)]
    assert analysis.mistakes[0].truth[0].name == "2"
    assert analysis.classes == analysis.bins == ()


def test_bins_compare_probability_and_truth() -> None:
    """Bins have the mean probability of the predicted class and the share of right rows; 1 has a bin."""
    logits = np.array([[np.log(3), 0.0]] * 4 + [[900.0, 0.0]])
    analysis = analyse(logits, np.array([0, 0, 1, 1, 0]), "single_label", LABELS[:2])
    assert [(item.low, item.count, item.mean, item.share) for item in analysis.bins] == [
        (0.7, 4, pytest.approx(0.75), 0.5),
        (0.9, 1, 1.0, 1.0),
    ]


def test_extreme_logits_stay_finite() -> None:
    """Logits of any size give a loss."""
    for task_type, targets in (("single_label", np.array([1])), ("multi_label", np.array([[0, 1]]))):
        analysis = analyse(np.array([[1e4, -1e4]], dtype=np.float32), targets, task_type, LABELS[:2])  # type: ignore[arg-type]
        assert np.isfinite(analysis.mistakes[0].loss)
