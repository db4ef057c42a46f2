"""Trainings side by side give each model what it gets alone; the held-out rows choose the epoch."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from rich.console import Console

from adapters.backbone.packing import Packing
from adapters.method.model import AdapterModel
from service.train.few_rows import fit_few_rows, make_state
from service.train.fit.batches import EncodedRows, PackedModel, collate
from service.train.fit.cross_validation import CrossValidated, Epoch, Training, cross_validate
from service.train.fit.targets import loss
from service.train.options import FitOptions, TrainOptions
from service.train.prepare import Setup, assemble, can_cross_validate, choose_epochs, encode, make_model, prepare
from service.train.report.curves import read_curves
from tests.support.trainings import sentiment, write_rows

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def few(options: TrainOptions, tmp_path: Path) -> tuple[TrainOptions, Setup, EncodedRows, np.ndarray]:
    """Options, setup, rows and folds of 30 rows."""
    rows = write_rows(tmp_path / "few.jsonl", sentiment, 30, seed=3)
    options = options.change(train=rows, validation=None, epochs=3, batch_size=8)
    options, data, _ = prepare(options, cross_validate=True)
    assert data.folds
    setup = assemble(options, data, "cpu")
    return options, setup, encode(data.train, setup), np.array(data.folds)


def make_models(options: TrainOptions, setup: Setup, count: int) -> list[AdapterModel]:
    """Models with the initial weights of the seeds 0, 1, ..."""
    models = []
    for seed in range(count):
        transformers.set_seed(seed)
        models.append(make_model(options.fit, setup.config, setup.loaded))
    return models


def train_alone(model: AdapterModel, rows: EncodedRows, options: TrainOptions, setup: Setup) -> None:
    """The slow reference: one model, a batch at a time, all epochs."""
    training, packed = Training(model, rows, options.fit), PackedModel(model).train()
    for epoch in range(options.fit.hyper_parameters.epochs):
        for batch in training.batches(epoch):
            taken = collate(batch)
            logits = packed(taken["token_ids"], taken["type_ids"], taken["lengths"])
            loss(logits, taken["labels"], setup.codec).backward()  # type: ignore[no-untyped-call]
            training.step()


@pytest.mark.parametrize("method", ["adakron", "madakron-partial"])
def test_side_by_side_is_like_alone(few: tuple[TrainOptions, Setup, EncodedRows, np.ndarray], method: str) -> None:
    """Each fold's weights, those of all rows, and the held-out logits equal those of separate trainings."""
    options, setup, rows, folds = few
    # one expert per projection, so that nothing is drawn in training
    options = options.change(method=method, experts=1)
    models = make_models(options, setup, 4)
    alone = [copy.deepcopy(model) for model in models]
    seen: list[Epoch] = []
    found = cross_validate(models, rows, folds, setup.codec, options.fit, "accuracy", seen.append)
    for fold, model in enumerate(alone):
        part = [row for row in range(len(rows)) if folds[row] != fold]
        train_alone(model, rows.take(part), options, setup)
        for (name, weight), own in zip(model.state_dict().items(), models[fold].state_dict().values(), strict=True):
            torch.testing.assert_close(own, weight, atol=2e-5, rtol=1e-3, msg=name)
    assert [epoch.number for epoch in seen] == [1, 2, 3]
    assert found.best.rank == max(epoch.rank for epoch in seen)
    if found.best.number == 3:
        for row in range(len(rows)):
            model = alone[folds[row]].eval()
            batch = collate([rows[row]])
            with torch.no_grad():
                logits = model(batch["token_ids"], batch["type_ids"], Packing.of(batch["lengths"]))
            assert np.abs(logits[0].numpy() - found.logits[row]).max() < 1e-3


def test_the_fold_of_a_row_never_learns_it(
    few: tuple[TrainOptions, Setup, EncodedRows, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the labels of one fold turned round, the logits of its rows stay the same, at a fixed penalty."""
    monkeypatch.setattr("service.train.fit.probe.STRENGTHS", (1.0,))
    options, setup, rows, folds = few
    turned = EncodedRows(
        rows.encodings,
        [1 - target if fold == 0 else target for target, fold in zip(rows.targets, folds, strict=True)],
    )
    options = options.change(epochs=1)
    first, other = (
        fit_few_rows(options.fit, setup, item, tuple(folds), torch.device("cpu"), Console(quiet=True))
        for item in (rows, turned)
    )
    own = folds == 0
    assert np.abs(first.logits[own] - other.logits[own]).max() < 1e-4
    assert np.abs(first.logits[~own] - other.logits[~own]).max() > 1e-2


def test_the_log_has_the_curves_of_the_report() -> None:
    """Losses and scores by step, and the chosen epoch."""
    epochs = [Epoch(number, 4 * number, 1 / number, 2 / number, {"accuracy": 0.5}, 0.5) for number in (1, 2)]
    state = make_state(CrossValidated(epochs, epochs[1], np.zeros((1, 2)), {}))
    curves = read_curves(state.log_history, state.best_global_step)
    assert curves.training_loss == ((4, 1.0), (8, 0.5))
    assert curves.validation_loss == ((4, 2.0), (8, 1.0))
    assert curves.best_step == 8
    assert state.epoch == 2


def test_few_steps_have_more_epochs() -> None:
    """About 40 steps, in 4 epochs at least and the recipe's at most; epochs of the options stay."""
    assert [choose_epochs(FitOptions(), *given) for given in ((16, 4), (30, 4), (240, 24))] == [10, 5, 4]
    assert choose_epochs(FitOptions(epochs=7), 240, 24) == 7
    assert choose_epochs(FitOptions(recipe="paper"), 240, 24) == 20


def test_only_trainings_that_can_share_a_forward_are_cross_validated() -> None:
    """Methods with parts beside AdaKron's site, and gradients that are scaled, are not."""
    assert can_cross_validate(FitOptions(method="madakron-full", mixed_precision="bf16"))
    assert not can_cross_validate(FitOptions(method="lora"))
    assert not can_cross_validate(FitOptions(mixed_precision="fp16"))
