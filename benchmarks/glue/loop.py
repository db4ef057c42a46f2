"""Train a stack of runs, with the same result as service/train/fit/trainer.py has for each run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil

import numpy as np
import torch
import transformers
from torch import Tensor
from torch.nn import functional as F

from benchmarks.glue.grid import Run
from benchmarks.glue.side_by_side import FlatAdamW, Group, SideBySide
from service.train.evaluation.metrics import compute_metrics
from service.train.fit.batches import EncodedRows, LengthSampler, collate
from service.train.fit.targets import TargetCodec
from service.train.recipes import RECIPES

EVAL_TOKENS = 1 << 14  # of one run's batch in evaluation
AVERAGED = 0.2  # share of the last steps whose weights are averaged


@dataclass
class Outcome:
    """The outcome of one run."""

    scores: list[float] = field(default_factory=list)  # after each epoch
    averaged: float = float("nan")  # of the average of the last weights
    best: dict[str, float] = field(default_factory=dict)  # all metrics at the best epoch
    weights: dict[str, Tensor] = field(default_factory=dict)  # at the end, of a run that trains alone
    num_trained: int = 0


def train_stack(
    groups: Sequence[tuple[Sequence[Run], Group]],
    train: EncodedRows,
    validation: EncodedRows,
    codec: TargetCodec,
) -> list[Outcome]:
    """Train all runs of the groups, which share data order, epochs and batch size; outcomes in the groups' order."""
    runs = [run for members, _ in groups for run in members]
    first, clip, warmup = runs[0], RECIPES["default"].clip, RECIPES["default"].warmup
    model = SideBySide([group for _, group in groups])
    device = model.backbone.device
    optimizers = [
        FlatAdamW(group, [run.learning_rate for run in members], [run.weight_decay for run in members], clip)
        for members, group in groups
    ]
    smoothing = torch.tensor([run.label_smoothing for run in runs], device=device)
    sampler = LengthSampler(train.lengths, first.batch_size, first.seed)
    total = ceil(len(train) / first.batch_size) * first.epochs
    warm = ceil(total * warmup)
    outcomes = [Outcome(num_trained=group.num_trained) for members, group in groups for _ in members]
    averages = [torch.zeros_like(group.flat) for group in model.groups]
    transformers.set_seed(first.seed)
    step = num_averaged = 0
    for epoch in range(first.epochs):
        sampler.set_epoch(epoch)
        model.train(True)
        for batch in batches(train, list(sampler), first.batch_size, device):
            logits = model.forward(*batch[1:])
            losses = stacked_loss(logits.float(), batch[0], codec, smoothing)
            gradients = list(torch.autograd.grad(losses.sum(), model.parameters(), allow_unused=True))
            factor = step / max(1, warm) if step < warm else (total - step) / max(1, total - warm)
            for optimizer, group in zip(optimizers, model.groups, strict=True):
                own, gradients = gradients[: len(group.names)], gradients[len(group.names) :]
                optimizer.step(own, factor)
            step += 1
            if step > total * (1 - AVERAGED):
                num_averaged += 1
                for average, group in zip(averages, model.groups, strict=True):
                    average.lerp_(group.flat, 1 / num_averaged)
        for run, metrics, outcome in zip(runs, evaluate(model, validation, codec), outcomes, strict=True):
            if metrics[run.metric] > max(outcome.scores, default=-np.inf):
                outcome.best = metrics
            outcome.scores.append(metrics[run.metric])
    last = [group.flat.clone() for group in model.groups]
    _put(model, averages)
    for run, metrics, outcome in zip(runs, evaluate(model, validation, codec), outcomes, strict=True):
        outcome.averaged = metrics[run.metric]
    _put(model, last)
    return outcomes


@torch.no_grad()
def _put(model: SideBySide, weights: Sequence[Tensor]) -> None:
    for group, flat in zip(model.groups, weights, strict=True):
        group.flat.copy_(flat)
        group.sync()


def batches(
    rows: EncodedRows, order: Sequence[int], size: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor, Tensor, tuple[int, ...]]]:
    """Packed batches of `size` rows in that order: labels, token ids, type ids, lengths."""
    for at in range(0, len(order), size):
        batch = collate([rows[index] for index in order[at : at + size]])
        tensors = [batch[name].to(device, non_blocking=True) for name in ("labels", "token_ids", "type_ids")]
        yield tensors[0], tensors[1], tensors[2], batch["lengths"]


def stacked_loss(logits: Tensor, labels: Tensor, codec: TargetCodec, smoothing: Tensor) -> Tensor:
    """Each run's mean loss: logits [K, N, num_outputs] float32, labels [N], smoothing [K] -> [K]."""
    if codec.type == "regression":
        return (logits[..., 0] - labels).square().mean(1)
    if codec.type == "multi_label":
        raise ValueError("a multi-label task is not trained side by side: GLUE has none")
    chances = F.log_softmax(logits, dim=-1)
    right = chances.gather(2, labels.expand(len(logits), -1).unsqueeze(2)).squeeze(2).mean(1)
    return -(1 - smoothing) * right - smoothing * chances.mean((1, 2))


@torch.no_grad()
def evaluate(model: SideBySide, rows: EncodedRows, codec: TargetCodec) -> list[dict[str, float]]:
    """Each run's metrics on `rows`."""
    model.train(False)
    order = np.argsort(rows.lengths, kind="stable")
    size = max(1, EVAL_TOKENS // (max(rows.lengths) * max(1, model.size // 8)))
    found, labels = [], []
    for target, *batch in batches(rows, list(order), size, model.backbone.device):
        found.append(model.forward(*batch).float())
        labels.append(target)
    logits = torch.cat(found, dim=1).cpu().numpy()
    targets = codec.restore(torch.cat(labels).cpu().numpy())
    return [compute_metrics(codec.restore(own), targets, codec.type) for own in logits]
