"""The life of one training: data -> train -> best checkpoint -> adapter file -> golden examples -> publish."""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import datasets
import torch
import transformers
from pydantic import JsonValue
from rich.console import Console

from adapters.config import AdapterConfig, Pooling, TaskSpec
from adapters.model import AdapterModel
from adapters.source import DEFAULT_BACKBONE, LoadedBackbone, load_backbone
from service.train.artifact import build_file, library_versions
from service.train.collator import EncodedRows
from service.train.data import Split, TaskData, load_data
from service.train.errors import TrainingError
from service.train.options import METRICS, MetricName, TrainOptions
from service.train.publish import Publication, publish
from service.train.resume import ADAPTER_FILE, last_checkpoint, make_plan, prepare_folder, write_atomically
from service.train.targets import TargetCodec
from service.train.trainer import make_trainer, training_arguments

METRICS_FILE = "metrics.json"


@dataclass(frozen=True)
class TrainResult:
    """What came out of a training."""

    task: str
    path: Path  # of the adapter file
    digest: str  # its SHA-256
    metric: MetricName  # that the best checkpoint was chosen by
    metrics: Mapping[str, float]  # of the stored adapter on the validation data
    num_parameters: int  # of the adapters, without the head
    num_backbone_parameters: int
    epochs: float  # trained; early stopping may end it before the recipe's
    duration_s: float
    publication: Publication | None


def train(options: TrainOptions, console: Console | None = None) -> TrainResult | None:
    """Train one adapter as `options` say; None on every process of a distributed training but the first.

    Raises TrainingError or adapters.errors.AdapterError, each told in one line.
    """
    started = time.monotonic()
    console = console or Console(stderr=True)
    quieten_libraries()
    check_device(options)
    data = load_data(options)
    metric = choose_metric(options, data)
    arguments = training_arguments(
        options.output,
        options.recipe,
        metric=metric,
        evaluate_every=options.evaluate_every,
        seed=options.seed,
        mixed_precision=options.mixed_precision,
        device=options.device,
    )
    loaded = load_backbone(options.backbone or DEFAULT_BACKBONE, device=arguments.device)
    config = make_config(options, data, loaded)
    if arguments.should_save:
        prepare_folder(options.output, make_plan(options, data, config), resume=options.resume)
        _announce(console, options, data)
    codec = TargetCodec.fit(config.task.type, config.task.num_outputs, data.train.targets)
    train_rows, validation_rows = (
        encode(split, loaded, codec, config.task.max_length) for split in (data.train, data.validation)
    )
    transformers.set_seed(options.seed)
    model = make_model(options, config, loaded)
    trainer = make_trainer(
        model, arguments, codec, train_rows, validation_rows, patience=options.recipe.patience, console=console
    )
    last = last_checkpoint(options.output) if options.resume else None
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    epochs = float(trainer.state.epoch or 0.0)
    trainer.accelerator.end_training()
    if not arguments.should_save:
        return None
    file, metadata = build_file(
        model,
        codec,
        loaded,
        data.validation,
        validation_rows,
        training=_training_record(options, data, epochs, time.monotonic() - started),
        dtype=options.dtype,
        seed=options.seed,
    )
    path = options.output / ADAPTER_FILE
    write_atomically(path, file)
    write_atomically(options.output / METRICS_FILE, json.dumps(metadata.metrics, indent=2).encode())
    return TrainResult(
        task=options.task,
        path=path,
        digest=hashlib.sha256(file).hexdigest(),
        metric=metric,
        metrics=metadata.metrics,
        num_parameters=config.num_parameters,
        num_backbone_parameters=sum(parameter.numel() for parameter in loaded.backbone.parameters()),
        epochs=epochs,
        duration_s=time.monotonic() - started,
        publication=publish(options.target, options.task, file, f"adakron push {options.task} {path}"),
    )


def quieten_libraries() -> None:
    """No progress bars for files that load at once, no telemetry, no warnings that ask for nothing."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    datasets.utils.logging.set_verbosity_error()


def check_device(options: TrainOptions) -> None:
    """Raises TrainingError where the machine has not what the options ask for."""
    if options.device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("--device cuda: PyTorch sees no CUDA device here; use --device auto")
    if options.mixed_precision == "fp16" and (options.device == "cpu" or not torch.cuda.is_available()):
        raise TrainingError("--mixed-precision fp16 needs CUDA; on a CPU use bf16, or no")


def choose_metric(options: TrainOptions, data: TaskData) -> MetricName:
    """What the best checkpoint is chosen by."""
    possible = METRICS[data.scheme.type]
    if options.metric is None:
        return possible[0]
    if options.metric not in possible:
        raise TrainingError(f"--metric {options.metric}: a {data.scheme.type} task has {', '.join(possible)}")
    return options.metric


def make_config(options: TrainOptions, data: TaskData, loaded: LoadedBackbone) -> AdapterConfig:
    """The adapter's shape, for this data and this backbone."""
    recipe, backbone = options.recipe, loaded.backbone
    if recipe.max_length > backbone.max_positions:
        raise TrainingError(f"--max-length {recipe.max_length}: the backbone takes {backbone.max_positions} tokens")
    return AdapterConfig(
        backbone=loaded.identity,
        p=options.p,
        q=options.q,
        layers=tuple(range(loaded.identity.num_layers)),
        task=TaskSpec(
            type=data.scheme.type,
            labels=data.scheme.names,
            pair=data.pair,
            pooling=choose_pooling(recipe.pooling, loaded),
            max_length=recipe.max_length,
        ),
    )


def choose_pooling(wanted: Pooling | None, loaded: LoadedBackbone) -> Pooling:
    """What is asked for; else the pooler of a BERT that has one, and the mean for a sentence encoder."""
    has_pooler = loaded.backbone.has_pooler
    if wanted == "pooler" and not has_pooler:
        raise TrainingError(f"--pooling pooler: {loaded.identity.name} comes without a pooler; use mean or cls")
    if wanted is not None:
        return wanted
    return "pooler" if has_pooler and loaded.identity.name != DEFAULT_BACKBONE else "mean"


def make_model(options: TrainOptions, config: AdapterConfig, loaded: LoadedBackbone) -> AdapterModel:
    """The adapter at its start, on the backbone with the recipe's dropout."""
    recipe, backbone = options.recipe, loaded.backbone
    backbone.dropout_p = recipe.dropout
    for layer in backbone.layers:
        layer.dropout_p = layer.attention_dropout_p = recipe.dropout
    model = AdapterModel(backbone, config)
    model.initialise(recipe.initialisation, recipe.gain)
    return model


def encode(split: Split, loaded: LoadedBackbone, codec: TargetCodec, max_length: int) -> EncodedRows:
    """Tokenise a split once."""
    return EncodedRows(loaded.encoder.encode(split.inputs, max_length=max_length), codec.encode(split.targets))


def _announce(console: Console, options: TrainOptions, data: TaskData) -> None:
    scheme = data.scheme
    kind = f"{len(scheme.names)} labels" if scheme.names else "regression"
    source = "held out of the training data" if data.held_out else data.validation.name
    console.print(
        f"task {options.task}: {scheme.type}, {kind}, {'pairs of texts' if data.pair else 'texts'}; {len(data.train)} "
        f"rows to train on, {len(data.validation)} to validate ({source})",
        highlight=False,
    )


def _training_record(options: TrainOptions, data: TaskData, epochs: float, duration_s: float) -> dict[str, JsonValue]:
    return {
        "versions": library_versions(),
        "seed": options.seed,
        "recipe": options.recipe_name,
        "hyper_parameters": {**asdict(options.recipe), "mixed_precision": options.mixed_precision},
        "data": {"train": data.train.provenance, "validation": data.validation.provenance},
        "epochs": epochs,
        "duration_s": round(duration_s, 1),
    }
