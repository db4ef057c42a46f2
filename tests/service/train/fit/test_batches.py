"""Packed batches, the sampler of similar lengths, targets and metrics."""

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr

from adapters.backbone.text_encoder import Encoding
from service.train.evaluation.metrics import compute_metrics
from service.train.fit.batches import EncodedRows, LengthSampler, collate
from service.train.fit.targets import TargetCodec, loss


def make_rows(lengths: list[int]) -> EncodedRows:
    """Rows whose token ids are their own number, again and again."""
    encodings = [
        Encoding(np.full(length, index, dtype=np.int64), np.zeros(length, dtype=np.int64), truncated=False)
        for index, length in enumerate(lengths)
    ]
    return EncodedRows(encodings, [np.array(index) for index in range(len(lengths))])


def test_a_batch_is_packed_shortest_first() -> None:
    """Tokens stand side by side, sequences in order of length, labels with their sequences."""
    rows = make_rows([3, 1, 2])
    batch = collate([rows[0], rows[1], rows[2]])
    assert next(iter(batch)) == "labels"
    assert batch["lengths"] == (1, 2, 3)
    assert batch["token_ids"].tolist() == [1, 2, 2, 0, 0, 0]
    assert batch["labels"].tolist() == [1, 2, 0]
    assert batch["type_ids"].shape == (6,)


@pytest.mark.parametrize("num_rows", [1, 7, 32, 1000])
def test_an_epoch_has_each_row_once(num_rows: int) -> None:
    """For any number of rows, only the last batch is short."""
    lengths = np.random.default_rng(0).integers(3, 60, num_rows).tolist()
    sampler = LengthSampler(lengths, 8, seed=0)
    assert sorted(sampler) == list(range(num_rows))
    assert len(sampler) == num_rows


def test_batches_are_of_similar_length_in_random_order() -> None:
    """Few distinct lengths in a batch; the mean length of successive batches goes up and down."""
    lengths = np.random.default_rng(0).integers(3, 60, 3200)
    order = np.array(list(LengthSampler(lengths.tolist(), 32, seed=0)))
    batches = lengths[order].reshape(-1, 32)
    assert np.mean([len(set(batch)) for batch in batches.tolist()]) < 3
    steps = np.sign(np.diff(batches.mean(axis=1)))
    assert (steps > 0).any()
    assert (steps < 0).any()


def test_an_epoch_depends_on_seed_and_number_alone() -> None:
    """A resumed training sees the same order; each epoch has another one."""
    lengths = list(range(3, 103))
    sampler, again = LengthSampler(lengths, 8, seed=1), LengthSampler(lengths, 8, seed=1)
    first = list(sampler)
    sampler.set_epoch(1)
    again.set_epoch(1)
    assert list(sampler) == list(again) != first
    assert list(LengthSampler(lengths, 8, seed=2)) != first


def test_regression_is_learnt_standardised_and_stored_real() -> None:
    """Targets have mean 0 and deviation 1; the folded head gives what `restore` gives."""
    codec = TargetCodec.fit("regression", 1, [1.0, 2.0, 3.0, 6.0])
    targets = np.array(codec.encode([1.0, 2.0, 3.0, 6.0]))
    assert targets.mean() == pytest.approx(0, abs=1e-6)
    assert targets.std() == pytest.approx(1)
    assert codec.restore(targets) == pytest.approx([1, 2, 3, 6])
    weight, bias, pooled = torch.randn(1, 5), torch.randn(1), torch.randn(7, 5)
    folded_weight, folded_bias = codec.fold(weight, bias)
    expected = codec.restore((pooled @ weight.T + bias).numpy())
    assert (pooled @ folded_weight.T + folded_bias).numpy() == pytest.approx(expected, abs=1e-5)


def test_several_labels_become_zeros_and_ones() -> None:
    """Each row has a one for each of its labels; classes and heads of classifications stay as they are."""
    codec = TargetCodec.fit("multi_label", 3, [])
    assert np.array(codec.encode([(0, 2), (), (1,)])).tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    weight, bias = torch.randn(3, 5), torch.randn(3)
    folded = codec.fold(weight, bias)
    assert folded[0].equal(weight)
    assert folded[1].equal(bias)


def test_the_loss_is_computed_in_float32() -> None:
    """Also where mixed precision gave bfloat16 logits."""
    logits = torch.zeros(2, 4, dtype=torch.bfloat16)
    assert loss(logits, torch.tensor([0, 3]), TargetCodec("single_label", 4)).item() == pytest.approx(np.log(4))
    assert loss(logits, torch.zeros(2, 4), TargetCodec("multi_label", 4)).item() == pytest.approx(np.log(2))
    assert loss(logits[:, :1], torch.tensor([1.0, 3.0]), TargetCodec("regression", 1)).item() == pytest.approx(5)


def test_metrics_of_classes() -> None:
    """Accuracy, macro F1 and Matthews by hand."""
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 4.0]])
    scores = compute_metrics(logits, np.array([0, 1, 1, 1]), "single_label")
    assert scores == pytest.approx({"accuracy": 0.75, "f1": (2 / 3 + 0.8) / 2, "matthews": 1 / np.sqrt(3)})


def test_metrics_of_several_labels() -> None:
    """A label is given where its logit is at least 0; micro F1 counts decisions, macro F1 labels."""
    logits = np.array([[1.0, -1.0], [1.0, -1.0], [-1.0, -1.0]])
    scores = compute_metrics(logits, np.array([[1, 0], [0, 0], [1, 1]], dtype=np.float32), "multi_label")
    assert scores == pytest.approx({"micro_f1": 0.4, "f1": 0.25})


def test_metrics_of_a_regression() -> None:
    """Correlations equal those of scipy; a constant prediction has correlation 0 instead of NaN."""
    drawn = np.random.default_rng(0)
    predicted, targets = drawn.normal(size=(20, 1)).round(1), drawn.normal(size=20).round(1)
    scores = compute_metrics(predicted, targets, "regression")
    assert scores["pearson"] == pytest.approx(pearsonr(predicted[:, 0], targets)[0])
    assert scores["spearman"] == pytest.approx(spearmanr(predicted[:, 0], targets)[0])
    assert scores["rmse"] == pytest.approx(np.sqrt(((predicted[:, 0] - targets) ** 2).mean()))
    constant = compute_metrics(np.ones((20, 1)), targets, "regression")
    assert constant["pearson"] == constant["spearman"] == 0.0
