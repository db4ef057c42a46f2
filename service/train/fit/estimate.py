"""How long a training takes on this machine, told from some of its batches."""

import time
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from adapters.backbone.source import LoadedBackbone
from adapters.config import AdapterConfig
from service.train.fit.batches import EncodedRows, LengthSampler, PackedModel, collate
from service.train.fit.lengths import work
from service.train.fit.targets import TargetCodec, loss
from service.train.fit.timing import FORWARD_SHARE
from service.train.options import TrainOptions
from service.train.prepare import make_model

NUM_WARM_UP = 2  # batches that are not measured: the first ones allocate memory
MIN_BATCHES, MAX_BATCHES = 3, 12
MAX_SECONDS = 5.0
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Estimate:
    """How long the training would take, if it went through all its epochs."""

    seconds: float
    epochs: int
    steps: int
    batches: int  # that were measured
    device: str
    threads: int  # of PyTorch, on a CPU


def estimate_time(
    options: TrainOptions,
    config: AdapterConfig,
    loaded: LoadedBackbone,
    codec: TargetCodec,
    train: EncodedRows,
    validation: EncodedRows,
) -> Estimate:
    """Train on some batches of the first epoch, and multiply by the work of all epochs and evaluations."""
    recipe, hidden_size = options.recipe, loaded.identity.hidden_size
    model = PackedModel(make_model(options, config, loaded)).train()
    optimizer = torch.optim.AdamW([item for item in model.parameters() if item.requires_grad], lr=recipe.learning_rate)
    order = list(LengthSampler(train.lengths, recipe.batch_size, options.seed))
    batches = [order[start : start + recipe.batch_size] for start in range(0, len(order), recipe.batch_size)]
    chosen = [batches[index % len(batches)] for index in range(NUM_WARM_UP + MAX_BATCHES)]
    device = loaded.backbone.device
    measured_s = measured_work = 0.0
    count = 0
    for number, batch in enumerate(chosen):
        began = time.perf_counter()
        _step(model, optimizer, collate([train[row] for row in batch]), codec, options, device)
        if number >= NUM_WARM_UP:
            measured_s += time.perf_counter() - began
            measured_work += work([len(train.encodings[row]) for row in batch], hidden_size)
            count += 1
        if count >= MIN_BATCHES and measured_s > MAX_SECONDS:
            break
    steps = len(batches) * recipe.epochs
    evaluations = steps / options.evaluate_every if options.evaluate_every else recipe.epochs
    total = recipe.epochs * work(train.lengths, hidden_size)
    total += evaluations * FORWARD_SHARE * work(validation.lengths, hidden_size)
    return Estimate(
        seconds=round(total * measured_s / measured_work, 1),
        epochs=recipe.epochs,
        steps=steps,
        batches=count,
        device=device.type,
        threads=torch.get_num_threads(),
    )


def _step(
    model: PackedModel,
    optimizer: torch.optim.Optimizer,
    batch: dict[str, object],
    codec: TargetCodec,
    options: TrainOptions,
    device: torch.device,
) -> None:
    half = HALVES.get(options.mixed_precision)
    token_ids, type_ids, labels = (batch[name].to(device) for name in ("token_ids", "type_ids", "labels"))  # type: ignore[attr-defined]
    with torch.autocast(device.type, half) if half else nullcontext():
        value = loss(model(token_ids, type_ids, batch["lengths"]), labels, codec)
    value.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), options.recipe.clip)
    optimizer.step()
    optimizer.zero_grad()
    value.item()  # waits for a GPU
