"""Several tasks trained together: one optimizer, and for each task its batches, its head and its best checkpoint.

A task of n rows is drawn with a probability proportional to n^(1/T): temperature sampling (Arivazhagan et al. 2019;
Raffel et al. 2020). T = 1 draws in proportion to the rows, a greater T draws small tasks more often.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import count
from math import ceil
from statistics import fmean
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import nn
from transformers import get_linear_schedule_with_warmup

from adapters.method.gated import GatedModel
from adapters.method.model import AdapterModel
from adapters.serving.inference import forward_encodings
from service.errors import make_printable
from service.train.evaluation.interval import constant_score
from service.train.evaluation.metrics import compute_metrics
from service.train.fit.batches import EncodedRows, LengthSampler, PackedModel, collate
from service.train.fit.estimate import HALVES
from service.train.fit.selection import ROUNDING, rank
from service.train.fit.targets import TargetCodec, loss
from service.train.options import FitOptions, MetricName


@dataclass(frozen=True, eq=False)
class JointTask:
    """One of the tasks that are trained together."""

    name: str
    model: GatedModel  # has the experts and gates of all tasks; the gate of task number n is that of key n
    codec: TargetCodec
    train: EncodedRows
    validation: EncodedRows
    metric: MetricName
    fit: FitOptions


@dataclass(frozen=True, eq=False)
class JointOutcome:
    """The best checkpoint of one task."""

    model: AdapterModel  # plain: merged by the task's gate
    log_history: list[dict[str, float]]  # as transformers' Trainer writes it
    best_step: int
    epochs: float  # until the task's last evaluation


def fit_together(tasks: Sequence[JointTask], *, temperature: float, console: Console) -> list[JointOutcome]:
    """Train the tasks, and return an outcome for each, in their order.

    An epoch has as many batches as all tasks have. After each epoch the merged adapter of each task is scored; a task
    whose patience is over is drawn no more. Learning rate, epochs and the like are those of the first task.
    """
    first = tasks[0].fit
    recipe, device = first.hyper_parameters, tasks[0].model.backbone.device
    runs = [_Run(task, number) for number, task in enumerate(tasks)]
    steps_per_epoch = sum(run.num_batches for run in runs)
    total = steps_per_epoch * recipe.epochs
    parameters = _parameters([task.model for task in tasks], recipe.weight_decay)
    learning = [parameter for group in parameters for parameter in group["params"]]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate)
    schedule = get_linear_schedule_with_warmup(optimizer, ceil(total * recipe.warmup), total)
    half = HALVES.get(first.mixed_precision)
    drawn = np.random.default_rng([first.seed, len(tasks)])
    step = 0
    for epoch in range(1, recipe.epochs + 1):
        active = [run for run in runs if not run.stopped]
        chances = sampling_chances([len(run.task.train) for run in active], temperature)
        for index in drawn.choice(len(active), steps_per_epoch, p=chances):
            with torch.autocast(device.type, half) if half else nullcontext():
                value = active[index].next_loss()
            value.backward()
            torch.nn.utils.clip_grad_norm_(learning, recipe.clip)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            step += 1
        for run in active:
            run.evaluate(step, epoch)
            console.print(run.describe(recipe.epochs), highlight=False, markup=False, soft_wrap=True)
        if all(run.stopped for run in runs):
            break
    return [run.outcome() for run in runs]


def sampling_chances(num_rows: Sequence[int], temperature: float) -> np.ndarray:
    """The probability of each task with these numbers of rows: n^(1/T), normalised; float64 with the sum 1."""
    weights: np.ndarray = np.array(num_rows, dtype=np.float64) ** (1 / temperature)
    chances: np.ndarray = weights / weights.sum()
    return chances


def _parameters(models: Sequence[nn.Module], weight_decay: float) -> list[dict[str, Any]]:
    """The parameters that learn, each once, in two groups: matrices, and biases, which have no decay."""
    named = {
        id(item): (name, item) for model in models for name, item in model.named_parameters() if item.requires_grad
    }
    groups: tuple[list[nn.Parameter], list[nn.Parameter]] = ([], [])
    for name, parameter in named.values():
        groups[name.endswith("bias")].append(parameter)
    return [{"params": groups[0], "weight_decay": weight_decay}, {"params": groups[1], "weight_decay": 0.0}]


@dataclass(eq=False)
class _Run:
    """The state of one task in a joint training."""

    task: JointTask
    number: int
    stopped: bool = False
    waited: int = 0  # evaluations without a gain
    best: AdapterModel | None = None
    best_rank: float = float("-inf")
    best_score: float = float("-inf")
    best_step: int = 0
    epoch: int = 0
    score: float = 0.0
    losses: list[float] = field(default_factory=list)  # since the last evaluation
    history: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        task = self.task
        self._size = task.fit.hyper_parameters.batch_size
        self._model = PackedModel(task.model)
        self._batches = self._endless()
        self._key = torch.tensor([self.number], device=task.model.backbone.device)
        self._targets = np.stack(task.validation.targets)
        self._floor = constant_score(self._targets, task.codec.type, task.codec.num_labels, task.metric)

    @property
    def num_batches(self) -> int:
        """Batches of one pass over the task's rows."""
        return ceil(len(self.task.train) / self._size)

    def next_loss(self) -> torch.Tensor:
        """The loss of the task's next batch, with its gradient."""
        batch, device = next(self._batches), self.task.model.backbone.device
        token_ids, type_ids, labels = (batch[name].to(device) for name in ("token_ids", "type_ids", "labels"))
        logits = self._model.train()(token_ids, type_ids, batch["lengths"], self._key)
        value = loss(logits, labels, self.task.codec)
        self.losses.append(value.item())
        return value

    def evaluate(self, step: int, epoch: int) -> None:
        """Score the merged adapter, keep it if none was better, and stop the task if its patience is over."""
        task, codec = self.task, self.task.codec
        merged = task.model.eval().merge(self.number)
        logits = forward_encodings(merged, task.validation.encodings)
        value = float(loss(torch.from_numpy(logits), torch.from_numpy(self._targets), codec, training=False))
        scores = compute_metrics(codec.restore(logits), codec.restore(self._targets), codec.type)
        self.epoch, self.score = epoch, scores[task.metric]
        if self.losses:
            self.history.append({"loss": fmean(self.losses), "step": step, "epoch": epoch})
        named = {f"eval_{name}": number for name, number in {**scores, "loss": value}.items()}
        self.history.append({**named, "step": step, "epoch": epoch})
        ranked = rank(self.score, value)
        gained = ranked > self.best_rank
        if ranked >= self.best_rank:
            self.best, self.best_rank, self.best_score, self.best_step = merged, ranked, self.score, step
        if gained:
            self.waited = 0
        elif self.score > self._floor + ROUNDING:
            self.waited += 1
        self.stopped = self.waited >= task.fit.hyper_parameters.patience

    def describe(self, epochs: int) -> str:
        """The last evaluation in one line; the losses are counted from here on anew."""
        loss_of_task = f"{fmean(self.losses):.4f}" if self.losses else "-"
        self.losses.clear()
        note = "best so far" if self.waited == 0 else f"best {self.best_score:.4f}"
        end = "  stopped" if self.stopped else ""
        line = (
            f"epoch {self.epoch}/{epochs}  {self.task.name}: loss {loss_of_task}  {self.task.metric} {self.score:.4f}"
        )
        return make_printable(f"{line}  {note}{end}")

    def outcome(self) -> JointOutcome:
        """The best checkpoint."""
        assert self.best is not None  # every task is scored after the first epoch
        return JointOutcome(self.best, self.history, self.best_step, float(self.epoch))

    def _endless(self) -> Iterator[dict[str, Any]]:
        """The batches of one pass after the other, each in an order of its own."""
        rows, seed = self.task.train, self.task.fit.seed
        sampler = LengthSampler(rows.lengths, self._size, seed)
        for number in count():
            sampler.set_epoch(number)
            order = list(sampler)
            for start in range(0, len(order), self._size):
                yield collate([rows[row] for row in order[start : start + self._size]])
