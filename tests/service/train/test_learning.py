"""Whole trainings on a tiny backbone learn every type of task, with the options that change how."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapters.backbone.source import load_backbone
from adapters.serving.inference import predict_logits
from service.train.errors import TrainingError
from service.train.evaluation.calibration import fit_temperature, negative_log_likelihood
from service.train.options import TrainOptions
from tests.support.tiny import make_tiny_backbone
from tests.support.trainings import FAST, colours, read, same_animal, train, unsure, warmth, write_rows

pytestmark = pytest.mark.usefixtures("one_thread")


def test_classes_are_learnt(options: TrainOptions) -> None:
    """A task of two classes is learnt, and the file says how, without a folder of this machine."""
    result = train(options)
    adapter = read(result)
    assert result.metrics["accuracy"] > 0.95
    assert result.metric == "accuracy"
    assert dict(adapter.metadata.metrics) == result.metrics
    assert json.loads((options.folder / "result.json").read_text())["metrics"] == result.metrics
    assert adapter.digest == result.digest
    assert adapter.metadata.task.labels == ("negative", "positive")
    assert adapter.metadata.bottleneck == 16
    record = adapter.metadata.training
    assert record["seed"] == 42
    assert record["recipe"] == "default"
    assert record["data"]["train"]["rows"] == 160  # type: ignore[call-overload, index]  # JSON
    assert set(record["versions"]) == {"adakron", "torch", "transformers", "safetensors"}  # type: ignore[arg-type]
    assert str(options.folder.parent) not in json.dumps(record)


def test_several_labels_are_learnt(options: TrainOptions, tmp_path: Path) -> None:
    """Lists of labels make a multi-label task, chosen by micro F1."""
    rows = write_rows(tmp_path / "colours.jsonl", colours, 200, seed=0)
    result = train(options.change(train=rows, validation=rows))
    assert result.metric == "micro_f1"
    assert result.metrics["micro_f1"] > 0.95
    assert read(result).metadata.task.labels == ("blue", "green", "red")


def test_numbers_are_learnt_in_their_own_scale(options: TrainOptions, tmp_path: Path) -> None:
    """A regression is trained on standardised targets; the stored head gives the real values."""
    rows = write_rows(tmp_path / "warmth.jsonl", warmth, 200, seed=0)
    result = train(options.change(train=rows, validation=rows, epochs=2))
    assert result.metrics["pearson"] > 0.95
    assert result.metrics["rmse"] < 15  # of 0 to 100
    logits = np.array([example.logits for example in read(result).metadata.examples])
    assert np.ptp(logits) > 40
    assert not {"ece", "nll"} & result.metrics.keys()


def test_pairs_are_learnt(options: TrainOptions, tmp_path: Path) -> None:
    """Two text columns make a task of pairs; its examples are pairs."""
    rows = write_rows(tmp_path / "pairs.jsonl", same_animal, 200, seed=0)
    result = train(options.change(train=rows, validation=rows, epochs=2))
    task = read(result).metadata.task
    assert task.pair
    assert result.metrics["accuracy"] > 0.95
    assert all(isinstance(example.inputs, tuple) for example in read(result).metadata.examples)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_scores_and_examples_are_those_of_the_stored_weights(options: TrainOptions, dtype: Any) -> None:
    """Eight golden examples of both labels, with the logits of the file as rounded; so are the scores."""
    result = train(options.change(dtype=dtype, epochs=4))
    adapter = read(result)
    assert next(iter(adapter.tensors.values())).dtype == getattr(torch, dtype)
    examples = adapter.metadata.examples
    loaded = load_backbone(str(options.fit.backbone))
    assert loaded.identity == adapter.metadata.backbone
    logits = predict_logits(loaded, adapter, [example.text_input for example in examples])
    assert np.abs(logits - np.array([example.logits for example in examples])).max() < 1e-5
    assert len(examples) == 8
    assert set(logits.argmax(axis=1)) == {0, 1}
    rows = [json.loads(line) for line in Path(str(options.data.validation)).read_text().splitlines()]
    predicted = predict_logits(loaded, adapter, [row["text"] for row in rows]).argmax(axis=1)
    correct = [adapter.metadata.task.labels[i] == row["label"] for i, row in zip(predicted, rows, strict=True)]
    assert result.metrics["accuracy"] == pytest.approx(np.mean(correct))


def test_probabilities_are_calibrated(options: TrainOptions, tmp_path: Path) -> None:
    """With a quarter of the labels wrong, the file has the temperature that its own logits ask for."""
    rows = write_rows(tmp_path / "unsure.jsonl", unsure, 120, seed=2)
    adapter = read(train(options.change(validation=rows)))
    written = [json.loads(line) for line in Path(rows).read_text().splitlines()]
    logits = predict_logits(load_backbone(str(options.fit.backbone)), adapter, [row["text"] for row in written])
    targets = np.array([row["label"] == "positive" for row in written], dtype=np.int64)
    metrics = adapter.metadata.metrics
    assert adapter.metadata.task.temperature == pytest.approx(fit_temperature(logits, targets), rel=1e-3)
    assert adapter.metadata.task.temperature > 1.1
    assert metrics["nll_uncalibrated"] == pytest.approx(negative_log_likelihood(logits, targets), rel=1e-3)
    assert metrics["nll"] < metrics["nll_uncalibrated"]
    assert metrics["ece"] < metrics["ece_uncalibrated"] + 0.02


def test_the_same_seed_gives_the_same_weights(options: TrainOptions) -> None:
    """Bit for bit on a CPU; another seed gives others."""
    short = options.change(epochs=1)
    first, again, other = (
        read(train(short.change(output=options.folder / name, seed=seed)))
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    for name, tensor in first.tensors.items():
        assert tensor.equal(again.tensors[name])
    assert not first.tensors["head.weight"].equal(other.tensors["head.weight"])


def test_training_stops_when_it_no_longer_gets_better(options: TrainOptions, tmp_path: Path) -> None:
    """Patience ends a training that becomes more certain without becoming better; the best checkpoint is kept."""
    rows = write_rows(tmp_path / "unsure.jsonl", unsure, 60, seed=1)
    result = train(options.change(validation=rows, epochs=50, patience=2))
    assert result.epochs < 50
    assert result.metrics["accuracy"] > 0.75


def test_bf16_and_cls_pooling(options: TrainOptions) -> None:
    """Mixed precision trains on a CPU too; its logs are for TensorBoard."""
    result = train(options.change(mixed_precision="bf16", pooling="cls"))
    assert result.metrics["accuracy"] > 0.9
    assert read(result).metadata.task.pooling == "cls"
    assert list((options.folder / "logs").glob("events.out.tfevents.*"))


def test_the_papers_recipe(options: TrainOptions) -> None:
    """Published initialisation and BERT's own pooler; recorded in the file."""
    result = train(options.change(recipe="paper", **dict.fromkeys(FAST) | {"epochs": 1, "max_length": 32}))
    metadata = read(result).metadata
    assert metadata.task.pooling == "pooler"
    assert metadata.training["recipe"] == "paper"
    assert metadata.training["hyper_parameters"]["initialisation"] == "published"  # type: ignore[call-overload, index]


def test_dropout_of_the_options_is_used(options: TrainOptions) -> None:
    """`--dropout` replaces the recipe's: it changes the weights and is recorded; 1 and more is refused."""
    plain, dropped = (
        read(train(options.change(output=options.folder / str(share), epochs=1, dropout=share))) for share in (0.0, 0.4)
    )
    assert not torch.equal(plain.tensors["head.weight"], dropped.tensors["head.weight"])
    assert dropped.metadata.training["hyper_parameters"]["dropout"] == 0.4  # type: ignore[call-overload, index]
    with pytest.raises(TrainingError, match=r"--dropout 1\.0"):
        options.change(dropout=1.0)


def test_a_backbone_without_pooler_takes_the_mean(options: TrainOptions, tmp_path: Path) -> None:
    """By default; asking for the pooler of such a backbone is an error."""
    bare = str(make_tiny_backbone(tmp_path / "bare", pooler=False))
    result = train(options.change(backbone=bare, epochs=1))
    assert read(result).metadata.task.pooling == "mean"
    with pytest.raises(TrainingError, match="has no pooler; use mean or cls"):
        train(options.change(backbone=bare, overwrite=True, pooling="pooler"))
