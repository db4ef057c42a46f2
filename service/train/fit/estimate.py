"""Estimate how long a training takes on this machine from a few of its batches."""

import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from adapters.method.model import AdapterModel
from service.train.fit.batches import EncodedRows, LengthSampler, PackedModel, collate
from service.train.fit.lengths import work
from service.train.fit.targets import TargetCodec, loss
from service.train.fit.timing import FORWARD_SHARE
from service.train.options import FitOptions

NUM_WARM_UP = 2  # batches that are not measured: the first ones allocate memory
MIN_BATCHES, MAX_BATCHES = 3, 12
MAX_SECONDS = 5.0
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Estimate:
    """The estimated time of a training that runs through all its epochs."""

    seconds: float
    epochs: int
    steps: int
    batches: int  # measured ones
    device: str
    threads: int  # of PyTorch, on a CPU


def estimate_time(
    options: FitOptions,
    inner: AdapterModel,
    codec: TargetCodec,
    train: EncodedRows,
    validation: EncodedRows,
    num_trainings: int = 1,
) -> Estimate:
    """Train `inner` on some batches of the first epoch, and multiply by the work of all epochs and evaluations.

    A cross-validation by n folds is the work of n trainings on all rows: n - 1 without the held-out rows, and one.
    """
    recipe, hidden_size, device = options.hyper_parameters, inner.config.backbone.hidden_size, inner.backbone.device
    model = PackedModel(inner).train()
    optimizer = torch.optim.AdamW([item for item in model.parameters() if item.requires_grad], lr=recipe.learning_rate)
    order = list(LengthSampler(train.lengths, recipe.batch_size, options.seed))
    batches = [order[start : start + recipe.batch_size] for start in range(0, len(order), recipe.batch_size)]
    chosen = [batches[index % len(batches)] for index in range(NUM_WARM_UP + MAX_BATCHES)]
    half = HALVES.get(options.mixed_precision)

    def step(batch: dict[str, Any]) -> None:
        token_ids, type_ids, labels = (batch[name].to(device) for name in ("token_ids", "type_ids", "labels"))
        with torch.autocast(device.type, half) if half else nullcontext():
            value = loss(model(token_ids, type_ids, batch["lengths"]), labels, codec)
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
        optimizer.zero_grad()
        value.item()  # waits for a GPU

    measured_s = measured_work = 0.0
    count = 0
    for number, rows in enumerate(chosen):
        began = time.perf_counter()
        step(collate([train[row] for row in rows]))
        if number >= NUM_WARM_UP:
            measured_s += time.perf_counter() - began
            measured_work += work([len(train.encodings[row]) for row in rows], hidden_size)
            count += 1
        if count >= MIN_BATCHES and measured_s > MAX_SECONDS:
            break
    steps = len(batches) * recipe.epochs
    evaluations = steps / options.evaluate_every if options.evaluate_every else recipe.epochs
    total = num_trainings * recipe.epochs * work(train.lengths, hidden_size)
    total += evaluations * FORWARD_SHARE * work(validation.lengths, hidden_size)
    return Estimate(
        seconds=round(total * measured_s / measured_work, 1),
        epochs=recipe.epochs,
        steps=steps,
        batches=count,
        device=device.type,
        threads=torch.get_num_threads(),
    )
