"""The probe: vectors of the frozen backbone, a linear model on them, and a head that computes the same."""

import numpy as np
import pytest
import torch

from adapters.backbone.packing import Packing
from adapters.backbone.source import LoadedBackbone, load_backbone
from adapters.config import Pooling
from adapters.method.model import pool
from adapters.serving.inference import forward_encodings
from service.train.evaluation.metrics import compute_metrics
from service.train.fit import probe as probe_module
from service.train.fit.batches import EncodedRows
from service.train.fit.probe import MAX_WEIGHT, fit_probe, make_folds, pool_rows, train_probe
from service.train.fit.targets import TargetCodec
from service.train.options import TrainOptions
from service.train.prepare import make_config, make_model, prepare

TEXTS = ["the film is good", "bad", "a very very dull story about a dog", "good", "the cat sleeps"] * 20


def encoded(loaded: LoadedBackbone) -> EncodedRows:
    """The texts, with class 1 where one is good."""
    targets = TargetCodec("single_label", 2).encode([int("good" in text) for text in TEXTS])
    return EncodedRows(loaded.encoder.encode(TEXTS, max_length=32), targets)


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_vectors_are_those_of_each_text_alone(tiny: LoadedBackbone, pooling: Pooling) -> None:
    """Batches by length give the vectors in the order of the rows."""
    rows = encoded(tiny)
    vectors = pool_rows(tiny.backbone, rows, pooling)
    for row in (0, 1, 2, 57):
        encoding = rows.encodings[row]
        packing = Packing.of([len(encoding)])
        with torch.no_grad():
            ids, types = (torch.from_numpy(part.copy()) for part in (encoding.token_ids, encoding.type_ids))
            alone = pool(tiny.backbone(ids, types, packing), packing, pooling, tiny.backbone)
        np.testing.assert_allclose(vectors[row], alone[0].numpy(), atol=1e-5)


def test_the_head_computes_the_probe(tiny: LoadedBackbone) -> None:
    """Centre and scale are folded into the head: on the vectors as they are it gives the logits of the probe."""
    rows = encoded(tiny)
    codec = TargetCodec("single_label", 2)
    probe = train_probe(tiny.backbone, rows, codec, "mean", seed=0)
    vectors = pool_rows(tiny.backbone, rows, "mean")
    logits = probe.logits(vectors)
    assert compute_metrics(logits, np.stack(rows.targets), "single_label")["accuracy"] == 1.0
    head = torch.nn.Linear(vectors.shape[1], 2)
    probe.copy_to(head)
    np.testing.assert_allclose(head(torch.from_numpy(vectors).float()).detach().numpy(), logits, atol=1e-2)


@pytest.mark.parametrize("factor", [0.1, 1.0, 1e3])
def test_the_scale_of_the_vectors_does_not_matter(factor: float) -> None:
    """Longer or shorter vectors, far from zero, give the same logits."""
    drawn = np.random.default_rng(0)
    targets = drawn.integers(0, 3, 90)
    vectors = 5 + np.eye(3)[targets] @ drawn.normal(size=(3, 6)) + 0.3 * drawn.normal(size=(90, 6))
    codec = TargetCodec("single_label", 3)
    plain = fit_probe(vectors, targets, codec, seed=0).logits(vectors)
    scaled = fit_probe(factor * vectors, targets, codec, seed=0).logits(factor * vectors)
    np.testing.assert_allclose(scaled, plain, atol=1e-2)
    assert (plain.argmax(axis=1) == targets).mean() > 0.9


def test_the_penalty_is_chosen_by_rows_that_are_held_out() -> None:
    """Pure noise gets the strongest penalty, a clear signal in many rows a weak one."""
    drawn = np.random.default_rng(0)
    codec = TargetCodec("single_label", 2)
    targets = drawn.integers(0, 2, 100)
    noise = fit_probe(drawn.normal(size=(100, 40)), targets, codec, seed=0)
    signal = fit_probe(drawn.normal(size=(100, 5)) + 4 * targets[:, None], targets, codec, seed=0)
    assert noise.strength == 0.1
    assert signal.strength > 1


def test_folds_spread_each_class() -> None:
    """A class of ten rows has two in each of the five folds; the seed draws them."""
    targets = np.repeat([0, 1, 2], [10, 20, 5])
    codec = TargetCodec("single_label", 3)
    folds = make_folds(targets, codec, seed=0)
    for label, share in ((0, 2), (1, 4), (2, 1)):
        assert np.bincount(folds[targets == label], minlength=5).tolist() == [share] * 5
    assert not np.array_equal(folds, make_folds(targets, codec, seed=1))


@pytest.mark.parametrize("counts", [(1, 1), (1, 9), (2, 1, 1)])
def test_a_handful_of_rows_has_a_probe(counts: tuple[int, ...]) -> None:
    """Classes of one row are never both trained and held out, and nothing fails."""
    targets = np.repeat(np.arange(len(counts)), counts)
    vectors = np.random.default_rng(0).normal(size=(len(targets), 8))
    probe = fit_probe(vectors, targets, TargetCodec("single_label", len(counts)), seed=0)
    assert np.isfinite(probe.logits(vectors)).all()


def test_equal_vectors_predict_the_shares_of_the_classes() -> None:
    """Without any difference between the rows only the bias learns."""
    targets = np.repeat([0, 1], [30, 10])
    vectors = np.tile(np.linspace(0, 1, 8), (40, 1))
    probe = fit_probe(vectors, targets, TargetCodec("single_label", 2), seed=0)
    logits = probe.logits(vectors)
    assert np.abs(probe.weight).max() < 1e-3
    np.testing.assert_allclose(logits[:, 0] - logits[:, 1], np.log(3), atol=1e-3)


def test_several_labels_and_numbers() -> None:
    """Labels are one against the rest; a label that never occurs is never predicted; numbers are standardised ones."""
    drawn = np.random.default_rng(0)
    vectors = drawn.normal(size=(80, 6))
    labels = np.stack([vectors[:, 0] > 0, vectors[:, 1] > 1, np.zeros(80)], axis=1).astype(np.float32)
    logits = fit_probe(vectors, labels, TargetCodec("multi_label", 3), seed=0).logits(vectors)
    assert compute_metrics(logits, labels, "multi_label")["micro_f1"] > 0.85
    assert (logits[:, 2] < -2).all()
    numbers = vectors @ np.arange(6.0) + 0.1 * drawn.normal(size=80)
    codec = TargetCodec.fit("regression", 1, numbers.tolist())
    encoded_numbers = np.stack(codec.encode(numbers.tolist()))
    logits = codec.restore(fit_probe(vectors, encoded_numbers, codec, seed=0).logits(vectors))
    assert compute_metrics(logits, numbers, "regression")["rmse"] < 0.5


def test_weights_fit_into_an_adapter_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the chosen penalty gave weights beyond MAX_WEIGHT, a stronger penalty is taken."""
    drawn = np.random.default_rng(0)
    targets = drawn.integers(0, 2, 60)
    vectors = drawn.normal(size=(60, 3)) + 4 * targets[:, None]
    codec = TargetCodec("single_label", 2)
    free = fit_probe(vectors, targets, codec, seed=0)
    assert np.abs(free.weight).max() < MAX_WEIGHT
    monkeypatch.setattr(probe_module, "MAX_WEIGHT", 0.7 * max(np.abs(free.weight).max(), np.abs(free.bias).max()))
    assert fit_probe(vectors, targets, codec, seed=0).strength < free.strength


def test_very_many_rows_are_a_part(tiny: LoadedBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over MAX_ROWS a drawn part is pooled; the seed draws it."""
    monkeypatch.setattr(probe_module, "MAX_ROWS", 50)
    sizes: list[int] = []
    monkeypatch.setattr(
        probe_module, "fit_probe", lambda vectors, targets, codec, seed: sizes.extend([len(vectors), len(targets)])
    )
    train_probe(tiny.backbone, encoded(tiny), TargetCodec("single_label", 2), "mean", seed=0)
    assert sizes == [50, 50]


def test_a_model_that_holds_the_probe(options: TrainOptions) -> None:
    """Its head is the probe's; its adapters, the same for a seed whatever was trained, change the logits a little."""
    options, data, _ = prepare(options)
    loaded = load_backbone(str(options.fit.backbone))
    rows = encoded(loaded)
    probe = train_probe(loaded.backbone, rows, TargetCodec("single_label", 2), "mean", seed=0)
    plain = probe.logits(pool_rows(loaded.backbone, rows, "mean"))
    stored = []
    for deviation in (1.0, 50.0):
        model = make_model(options.fit, make_config(options.fit, data, loaded), loaded)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=deviation)
        probe.replace(model, seed=3)
        stored.append(model.state_dict())
    logits = forward_encodings(model.eval(), rows.encodings)
    assert 1e-6 < np.abs(logits - plain).max() < 0.1 * np.abs(plain).max()
    assert all(stored[0][name].equal(tensor) for name, tensor in stored[1].items())
