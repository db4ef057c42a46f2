"""Class weights and label smoothing: the numbers, the loss, the hint, and what is recorded."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional as F

from adapters import checkpoint
from service.train import pipeline
from service.train.errors import TrainingError
from service.train.fit.targets import TargetCodec, balanced_weights, loss
from service.train.options import TrainOptions
from service.train.prepare import prepare

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 1.0, 0.0], [0.0, 0.0, 3.0], [1.0, -2.0, 0.0]])
CLASSES = torch.tensor([0, 0, 0, 2])


def skewed(path: Path, common: int = 45, rare: int = 4) -> str:
    """A CSV file in which one class is rare."""
    rows = [f"film {i} is {'great,good' if i < common else 'dull,bad'}" for i in range(common + rare)]
    path.write_text("\n".join(["text,label", *rows]) + "\n")
    return str(path)


def options(train: str, **changes: Any) -> TrainOptions:
    """A training on these rows."""
    return TrainOptions.of(task="t", train=train, output=Path(train).with_name("run"), **changes)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    """N / (K * count) of the classes that occur; 1 for one that does not."""
    targets = [0] * 70 + [1] * 5 + [3] * 25
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=np.array(targets))
    weights = balanced_weights("single_label", targets, 4)
    assert [weights[0], weights[1], weights[3]] == pytest.approx(list(expected))
    assert weights[2] == 1


def test_the_weights_of_several_labels_are_odds() -> None:
    """Rows without / rows with, within 1/20..20; 1 for a label that is never set."""
    targets = [(0, 2)] * 25 + [(2,)] * 74 + [(1, 2)]
    assert balanced_weights("multi_label", targets, 4) == pytest.approx((3, 20, 1 / 20, 1))


def test_a_row_counts_by_the_weight_of_its_class() -> None:
    """The loss is the mean of w * cross entropy, so that a batch without a rare class does not weigh more."""
    codec = TargetCodec.fit("single_label", 3, CLASSES.tolist(), class_weights="balanced")
    assert codec.weights == pytest.approx((2 / 3, 1, 2))
    losses = F.cross_entropy(LOGITS, CLASSES, reduction="none")
    expected = (losses * torch.tensor([2 / 3, 2 / 3, 2 / 3, 2])).mean()
    assert loss(LOGITS, CLASSES, codec).item() == pytest.approx(expected.item())
    assert loss(LOGITS[:3], CLASSES[:3], codec).item() == pytest.approx(losses[:3].mean().item() * 2 / 3)


def test_a_set_label_counts_by_its_weight() -> None:
    """In a multi-label task the weight applies to set labels, like torch's pos_weight."""
    codec = TargetCodec.fit("multi_label", 3, [(0,), (0, 1), (0,), (2,)], class_weights="balanced")
    assert codec.weights == pytest.approx((1 / 3, 3, 3))
    labels = torch.tensor([[1.0, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1]])
    log = F.logsigmoid
    expected = -(torch.tensor([1 / 3, 3, 3]) * labels * log(LOGITS) + (1 - labels) * log(-LOGITS)).mean()
    assert loss(LOGITS, labels, codec).item() == pytest.approx(expected.item())


def test_smoothing_moves_targets() -> None:
    """s of a class' target goes to all classes alike; a label's target moves to one half."""
    codec = TargetCodec("single_label", 3, smoothing=0.3)
    target = F.one_hot(CLASSES, 3) * 0.7 + 0.1
    expected = -(target * LOGITS.log_softmax(-1)).sum(-1).mean()
    assert loss(LOGITS, CLASSES, codec).item() == pytest.approx(expected.item())
    several = TargetCodec("multi_label", 3, smoothing=0.2)
    labels = F.one_hot(CLASSES, 3).float()
    expected = F.binary_cross_entropy_with_logits(LOGITS, labels * 0.8 + 0.1)
    assert loss(LOGITS, labels, several).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("task_type", ["single_label", "multi_label"])
def test_evaluation_knows_neither(task_type: Any) -> None:
    """The loss of an evaluation is the plain one."""
    labels = CLASSES if task_type == "single_label" else F.one_hot(CLASSES, 3).float()
    codec = TargetCodec(task_type, 3, weights=(1.0, 2.0, 3.0), smoothing=0.2)
    plain = loss(LOGITS, labels, TargetCodec(task_type, 3))
    assert loss(LOGITS, labels, codec, training=False).equal(plain)
    assert not loss(LOGITS, labels, codec).equal(plain)


def test_skewed_data_are_hinted_at(tmp_path: Path) -> None:
    """A class with less than a tenth of the rows of another, unless weights are asked for."""
    file = skewed(tmp_path / "a.csv")
    (warning,) = prepare(options(file, validation=None))[1].warnings
    assert warning == (
        "a.csv (training part): the labels are skewed, 41 rows of 'good' and 3 of 'bad'; --class-weights balanced "
        "weighs them alike, --metric f1 judges them alike"
    )
    assert prepare(options(file, class_weights="balanced"))[1].warnings == ()
    assert prepare(options(skewed(tmp_path / "b.csv", common=40, rare=5)))[1].warnings == ()


def test_a_regression_has_neither(tmp_path: Path) -> None:
    """Told before anything is written."""
    file = tmp_path / "a.csv"
    file.write_text("text,score\n" + "".join(f"text {i},{i}.5\n" for i in range(20)))
    with pytest.raises(TrainingError, match="--class-weights: a regression has no classes to weigh"):
        prepare(options(str(file), class_weights="balanced"))
    with pytest.raises(TrainingError, match="--label-smoothing: a regression has no classes to smooth"):
        prepare(options(str(file), label_smoothing=0.1))


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_smoothing_lies_below_one(smoothing: float) -> None:
    """The smoothing is a share below 1."""
    with pytest.raises(TrainingError, match="--label-smoothing"):
        options("a.csv", label_smoothing=smoothing)


@pytest.mark.usefixtures("one_thread")
def test_both_are_used_and_recorded(tmp_path: Path, tiny_folder: Path) -> None:
    """They change the weights, stand in plan and adapter file, and a resumed training must have the same."""
    file = skewed(tmp_path / "a.csv")
    digests = set()
    for name, class_weights, smoothing in (("a", "none", 0.0), ("b", "balanced", 0.0), ("c", "balanced", 0.2)):
        given = TrainOptions.of(
            task="t",
            train=file,
            output=tmp_path / name,
            class_weights=class_weights,  # type: ignore[arg-type]  # of a literal
            epochs=1,
            pooling="mean",
            max_length=16,
            label_smoothing=smoothing,
            cross_validate=False,  # or the file may hold the probe
            device="cpu",
            backbone=str(tiny_folder),
        )
        assert pipeline.train(given, Console(quiet=True))
        adapter = checkpoint.parse((tmp_path / name / "adapter.safetensors").read_bytes())
        digests.add(adapter.tensors["head.weight"].numpy().tobytes())
        plan = json.loads((tmp_path / name / "training.json").read_text())
        record: Any = adapter.metadata.training["hyper_parameters"]
        assert plan["class_weights"] == class_weights
        assert plan["recipe"]["label_smoothing"] == record["label_smoothing"] == smoothing
    assert len(digests) == 3
    assert record["class_weights"] == pytest.approx([44 / (2 * 3), 44 / (2 * 41)], rel=1e-3)
