"""The training on few rows: probe and adapter are cross-validated, and both are fitted to all rows."""

from dataclasses import dataclass

import numpy as np
import torch
import transformers
from rich.console import Console

from adapters.method.model import AdapterModel
from service.train.fit.batches import EncodedRows
from service.train.fit.cross_validation import CrossValidated, Epoch, cross_validate
from service.train.fit.probe import Probe, fit_probe, pool_rows
from service.train.options import FitOptions
from service.train.prepare import Setup, choose_metric, make_model


@dataclass(frozen=True, eq=False)
class CrossFitted:
    """A probe and a model, both fitted to all rows, with the logits of those that were fitted without a row.

    The logits [M, num_outputs] float32 are of the held-out rows in their order, in the scale of the training targets.
    """

    model: AdapterModel
    probe: Probe
    logits: np.ndarray
    probe_logits: np.ndarray
    state: transformers.TrainerState  # the log, as Trainer keeps it


def fit_few_rows(
    options: FitOptions,
    setup: Setup,
    rows: EncodedRows,
    folds: tuple[int, ...],
    device: torch.device,
    console: Console,
) -> CrossFitted:
    """Train on `rows`, row i in fold `folds[i]`; each fold's training starts from a probe without that fold's rows.

    The penalty of all probes is the one that is chosen on all rows.
    """
    fold_of, codec = np.array(folds), setup.codec
    task, backbone = setup.config.task, setup.loaded.backbone
    vectors, targets = pool_rows(backbone, rows, task.pooling), np.stack(rows.targets)
    probe = fit_probe(vectors, targets, codec, options.seed)
    parts = [fold_of != fold for fold in range(max(folds) + 1)]
    probes = [fit_probe(vectors[part], targets[part], codec, options.seed, probe.strength) for part in parts]
    held = fold_of >= 0
    probe_logits = np.zeros((len(rows), task.num_outputs), np.float32)
    for part, fitted in zip(parts, probes, strict=True):
        probe_logits[~part] = fitted.logits(vectors[~part])
    transformers.set_seed(options.seed)
    models = []
    for start in (*probes, probe):
        model = make_model(options, setup.config, setup.loaded).to(device)
        start.copy_to(model.head)
        models.append(model)
    metric, best = choose_metric(options.metric, task.type), float("-inf")

    def report(epoch: Epoch) -> None:
        nonlocal best
        note = "  best so far" if epoch.rank >= best else ""
        best = max(best, epoch.rank)
        line = (
            f"epoch {epoch.number}/{options.hyper_parameters.epochs}  loss {epoch.training_loss:.4f}  {metric} "
            f"{epoch.metrics[metric]:.4f} by cross-validation{note}"
        )
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    found = cross_validate(models, rows, fold_of, codec, options, metric, report)
    models[-1].load_state_dict(found.state)
    return CrossFitted(models[-1], probe, found.logits[held], probe_logits[held], make_state(found))


def make_state(found: CrossValidated) -> transformers.TrainerState:
    """The log of a cross-validation in the form of Trainer's, for the curves of the report."""
    state = transformers.TrainerState(epoch=float(found.best.number), best_global_step=found.best.step)
    for epoch in found.epochs:
        place = {"step": epoch.step, "epoch": float(epoch.number)}
        scores = {f"eval_{name}": value for name, value in epoch.metrics.items()}
        state.log_history += [place | {"loss": epoch.training_loss}, place | {"eval_loss": epoch.loss} | scores]
    return state
