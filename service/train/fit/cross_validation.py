"""Cross-validation of few rows: the trainings of all folds and one on all rows, side by side in the same batches.

Each training has adapters and a head of its own on the shared backbone. A step packs a batch of each training into one
forward; the loss is the sum of theirs, so each gets the gradients that it would get alone.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import zip_longest
from math import ceil

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import get_linear_schedule_with_warmup

from adapters.backbone.packing import Packing
from adapters.method.model import AdapterModel, pool
from service.train.evaluation.metrics import compute_metrics
from service.train.fit.batches import EncodedRow, EncodedRows, LengthSampler, collate
from service.train.fit.estimate import HALVES
from service.train.fit.probe import TEXTS
from service.train.fit.selection import rank
from service.train.fit.targets import TargetCodec, loss
from service.train.options import FitOptions, MetricName

State = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Epoch:
    """The out-of-fold evaluation after an epoch."""

    number: int  # from 1
    step: int  # of the training on all rows
    training_loss: float  # mean over the steps of all trainings
    loss: float  # of the held-out rows
    metrics: dict[str, float]  # of the held-out rows
    rank: float  # by metric, ties by loss


@dataclass(frozen=True, eq=False)
class CrossValidated:
    """The result: the epoch with the best out-of-fold rank, and what the trainings had then."""

    epochs: list[Epoch]
    best: Epoch
    logits: np.ndarray  # [N, num_outputs] float32, of each held-out row by the training without it; else 0
    state: State  # of the training on all rows


class SideBySide(nn.Module):
    """K models of one method on one backbone: one forward computes a batch of each."""

    def __init__(self, models: Sequence[AdapterModel]) -> None:
        super().__init__()
        self._models = list(models)
        self.parts = nn.ModuleList(models)  # as submodules they follow train and eval

    def forward(self, batches: Sequence[Sequence[EncodedRow]]) -> list[tuple[Tensor, Tensor] | None]:
        """K batches of rows -> the logits [N, num_outputs] float32 and labels of each; None of an empty one."""
        taken = [(model, collate(list(rows))) for model, rows in zip(self._models, batches, strict=True) if rows]
        backbone = taken[0][0].backbone
        sizes = [sum(batch["lengths"]) for _, batch in taken]
        packing = Packing.of([size for _, batch in taken for size in batch["lengths"]], backbone.device)

        def site(layer: int, h: Tensor) -> Tensor:
            parts = torch.split(h, sizes)
            return torch.cat([model.site(layer, part) for (model, _), part in zip(taken, parts, strict=True)])

        tokens = (torch.cat([batch[name] for _, batch in taken]) for name in ("token_ids", "type_ids"))
        token_ids, type_ids = (item.to(backbone.device) for item in tokens)
        with sdpa_kernel(SDPBackend.MATH) if self.training else nullcontext():  # see PackedModel
            hidden = backbone(token_ids, type_ids, packing, site)
        pooled = pool(hidden, packing, taken[0][0].config.task.pooling, backbone)
        parts = torch.split(pooled, [len(batch["lengths"]) for _, batch in taken])
        found = iter(
            (model.head(model.head_dropout(part).float()), batch["labels"].to(backbone.device))
            for (model, batch), part in zip(taken, parts, strict=True)
        )
        return [next(found) if rows else None for rows in batches]


class Training:
    """One of the trainings: its rows, its optimizer and its schedule, those of Trainer's loop."""

    def __init__(self, model: AdapterModel, rows: EncodedRows, options: FitOptions) -> None:
        recipe = options.hyper_parameters
        self.model, self.rows, self._batch_size, self._clip = model, rows, recipe.batch_size, recipe.clip
        self._sampler = LengthSampler(rows.lengths, recipe.batch_size, options.seed)
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        groups = [
            {"params": [item for item in self.parameters if (item.ndim > 1) is matrices], "weight_decay": decay}
            for matrices, decay in ((True, recipe.weight_decay), (False, 0.0))
        ]
        self._optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate)
        total = ceil(len(rows) / recipe.batch_size) * recipe.epochs
        self._schedule = get_linear_schedule_with_warmup(self._optimizer, ceil(total * recipe.warmup), total)

    def batches(self, epoch: int) -> list[list[EncodedRow]]:
        """The batches of an epoch, from 0."""
        self._sampler.set_epoch(epoch)
        order = list(self._sampler)
        return [
            [self.rows[row] for row in order[start : start + self._batch_size]]
            for start in range(0, len(order), self._batch_size)
        ]

    def step(self) -> None:
        """Update the weights from their gradients."""
        nn.utils.clip_grad_norm_(self.parameters, self._clip)
        self._optimizer.step()
        self._schedule.step()
        self._optimizer.zero_grad()


def cross_validate(
    models: Sequence[AdapterModel],
    rows: EncodedRows,
    folds: np.ndarray,
    codec: TargetCodec,
    options: FitOptions,
    metric: MetricName,
    report: Callable[[Epoch], None],
) -> CrossValidated:
    """Train a model for each fold without its rows, and the last of `models` on all rows.

    `folds` [N] are numbers from 0; rows of a negative one are in every training. After each epoch `report` gets the
    scores of the held-out rows. The trained weights depend on the options as in Trainer's loop, except that nothing
    stops early.
    """
    everything = range(len(rows))
    parts = [[row for row in everything if folds[row] != fold] for fold in range(len(models) - 1)]
    side_by_side = SideBySide(models)
    trainings = [
        Training(model, rows.take(part), options) for model, part in zip(models, [*parts, everything], strict=True)
    ]
    half = HALVES.get(options.mixed_precision)
    device = models[0].backbone.device
    epochs: list[Epoch] = []
    found: CrossValidated | None = None
    step = 0
    for number in range(1, options.hyper_parameters.epochs + 1):
        side_by_side.train()
        losses: list[float] = []
        for batches in zip_longest(*(training.batches(number - 1) for training in trainings), fillvalue=()):
            with torch.autocast(device.type, half) if half else nullcontext():
                outputs = side_by_side(batches)
            values = [loss(output[0], output[1], codec) for output in outputs if output is not None]
            torch.stack(values).sum().backward()  # type: ignore[no-untyped-call]
            for training, output in zip(trainings, outputs, strict=True):
                if output is not None:
                    training.step()
            losses += [value.item() for value in values]
            step += bool(batches[-1])
        logits = _held_out_logits(side_by_side, rows, folds)
        epoch = _evaluate(number, step, float(np.mean(losses)), logits, rows, folds, codec, metric)
        epochs.append(epoch)
        report(epoch)
        if found is None or epoch.rank >= found.best.rank:
            state = {name: tensor.detach().clone() for name, tensor in models[-1].state_dict().items()}
            found = CrossValidated(epochs, epoch, logits, state)
    assert found is not None
    return found


@torch.no_grad()
def _held_out_logits(side_by_side: SideBySide, rows: EncodedRows, folds: np.ndarray) -> np.ndarray:
    """The logits [N, num_outputs] float32 of each row by the training without it; 0 of rows in every training."""
    side_by_side.eval()
    num_folds = len(side_by_side.parts) - 1
    shortest_first = np.argsort(rows.lengths, kind="stable").tolist()
    held = [[row for row in shortest_first if folds[row] == fold] for fold in range(num_folds)]
    logits: np.ndarray | None = None
    for start in range(0, max(map(len, held)), TEXTS):
        chosen = [part[start : start + TEXTS] for part in held]
        outputs = side_by_side([*([rows[row] for row in part] for part in chosen), ()])
        for part, output in zip(chosen, outputs, strict=False):
            if output is not None:
                values = output[0].float().cpu().numpy()
                logits = np.zeros((len(rows), values.shape[1]), np.float32) if logits is None else logits
                logits[part] = values
    assert logits is not None
    return logits


def _evaluate(
    number: int,
    step: int,
    training_loss: float,
    logits: np.ndarray,
    rows: EncodedRows,
    folds: np.ndarray,
    codec: TargetCodec,
    metric: MetricName,
) -> Epoch:
    held, targets = folds >= 0, np.stack(rows.targets)
    value = loss(torch.tensor(logits[held]), torch.tensor(targets[held]), codec, training=False).item()
    metrics = compute_metrics(codec.restore(logits[held]), codec.restore(targets[held]), codec.type)
    return Epoch(number, step, training_loss, value, metrics, rank(metrics[metric], value))
